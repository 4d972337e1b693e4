"""What the gateway remembers: the records and the calls of the store.

The implementation is ``gateway.store.sql`` (SQLite or PostgreSQL). A call that writes
resolves once the write is committed, so an acknowledgement may leave right after it
(``docs/semantics.md`` 1 and 6). Every write is idempotent under its own id.

Units and spellings, for all records: times are UTC microseconds since 1970 in an
integer; identifiers (AoR, user id, MSISDN) come folded by the caller; content is bytes.

Every call but ``note_history`` raises ``Unreachable`` when the database cannot be had
now or too many writes wait; what was asked may then be done or not, and may be asked
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

Direction = Literal["to_handset", "to_sip"]
FinalState = Literal["delivered", "expired", "rejected", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """One IMPS user who is served here, with the account used at the SIP core."""

    aor: str
    """The address of record, ``sip:alice@example.com``: the key everywhere else."""
    user_id: str
    """The IMPS address, ``wv:alice@example.com``."""
    password: str = field(repr=False)
    """The password of the CSP login; the login digests need it in clear."""
    sip_user: str = ""
    """The Digest user name at the SIP core; empty: the core is not asked for one."""
    sip_password: str = field(default="", repr=False)
    msisdn: str | None = None
    """The telephone number, ``+358401234567``."""
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """Why a subscriber cannot be added: another one has that value already."""

    index: int
    """The place in the list that was given, from 0."""
    field: Literal["aor", "user_id", "msisdn"]
    value: str


# Not frozen: one is made for every message, and freezing doubles what that costs.
@dataclass(slots=True, kw_only=True)
class StoredMessage:
    """One accepted message until it has reached its end."""

    id: str
    """The CSP MessageID or the deferred id; chosen by the caller, unique."""
    recipient: str
    """The folded AoR (or the SIP URI outside) it goes to."""
    sender: str
    """The sender's address text, as the recipient is to see it."""
    content_type: str
    content: bytes = field(repr=False)
    sent_at: int
    accepted_at: int
    expires_at: int
    direction: Direction
    subject: str | None = None
    inbound_key: str | None = None
    """What tells a repeat: (Call-ID, CSeq, From tag, AoR) in one text; unique."""
    delivery_report: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    """What else the delivery needs; the store does not look into it."""
    answer: int = 200
    """The status that the sender was given, for its repetition."""
    state: FinalState | None = None
    """The final state; ``None`` while it waits. Its content is empty afterwards."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may wait for one recipient (configuration: ``[offline]``)."""

    max_messages: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Added:
    """The message is committed (now, or by an earlier call with the same id)."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The inbound key is known: answer as the first was answered."""

    answer: int
    id: str
    """The id of the message that came first."""


@dataclass(frozen=True, slots=True)
class Full:
    """The recipient's storage, or the whole table, is full; nothing was written."""


Addition = Added | Duplicate | Full


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One CSP session, so that it outlives this process."""

    id: str
    aor: str
    client_id: str
    version: int
    """``gateway.csp.envelope.Version`` as a number: 11, 12, 13."""
    cookie: str = field(repr=False)
    """The poll cookie of the CIR channel."""
    bearer: str
    keep_alive: int
    """KeepAliveTime in seconds."""
    state: dict[str, Any]
    """Capabilities, services, delivery method, priority …: JSON values only."""
    last_activity: int
    ended_at: int | None = None
    owner: str = ""
    """The node that serves it."""
    epoch: int = 0
    """Raised by each claim; a write with another epoch has no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The one binding of a subscriber at the SIP core (RFC 5626 4.1, RFC 3261 10.2)."""

    aor: str
    instance: str
    """The ``+sip.instance`` URN, ``urn:uuid:…``."""
    call_id: str
    cseq: int


class HistoryEntry(NamedTuple):
    """One thing that happened to a message, for "where is my message?"."""

    message_id: str
    at: int
    event: str
    """One word: accepted, offered, delivered …; unique with ``at`` for a message."""
    detail: Mapping[str, Any] = MappingProxyType({})
    users: tuple[str, ...] = ()
    """The folded AoRs under which the message is to be found (needed once)."""


class Store(Protocol):
    """What the services ask of the store; see the module for units and errors."""

    async def open(self) -> None:
        """Connect; make the schema of an empty database.

        Raises ``ConfigError("store.url", …)`` on a schema of another release, naming
        ``imps-gateway store migrate``, ``ConfigError("gateway.state_dir", …)`` when
        its key did not seal the stored passwords, and ``Unreachable``.
        """

    async def close(self) -> None:
        """Commit what waits, then let go of the database. Nothing may follow."""

    # Subscribers

    async def subscriber(self, aor: str) -> Subscriber | None:
        """Find a subscriber by his AoR.

        A change by another process is seen after a second at the latest.
        """

    async def subscriber_by_user(self, user_id: str) -> Subscriber | None:
        """Find a subscriber by his IMPS address."""

    async def subscriber_by_msisdn(self, msisdn: str) -> Subscriber | None:
        """Find a subscriber by his telephone number."""

    async def subscribers(
        self, after: str | None = None, limit: int = 1000
    ) -> list[Subscriber]:
        """List subscribers in order of AoR, from the one behind ``after``."""

    async def add_subscribers(
        self, new: Sequence[Subscriber], *, replace: bool = False
    ) -> list[Clash]:
        """Add all of them, or none when there is any clash (which is returned).

        ``replace``: one with an AoR that exists takes its place.
        """

    async def remove_subscriber(self, aor: str) -> bool:
        """Remove a subscriber and his registration; False when there was none."""

    async def subscriber_revision(self) -> int:
        """Return a number that is higher after each change of any subscriber."""

    # Messages

    async def add_message(
        self, message: StoredMessage, limits: Limits | None = None
    ) -> Addition:
        """Commit a message; ``limits`` bounds what waits for its recipient."""

    async def message(self, message_id: str) -> StoredMessage | None:
        """Find a message, waiting or (for an hour) finished."""

    async def messages(
        self,
        recipient: str,
        after: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> list[StoredMessage]:
        """List what waits for a handset, in order of (accepted_at, id)."""

    async def waiting_to_sip(
        self, after: tuple[int, str] | None = None, limit: int = 100
    ) -> list[StoredMessage]:
        """List what waits to go to the SIP side, in order of (accepted_at, id)."""

    async def finish_message(
        self, message_id: str, state: FinalState, reason: str = ""
    ) -> bool:
        """Give a message its one final state and drop its content.

        False when it has one already, or is not known: the first wins.
        """

    async def expire_messages(self, now: int, limit: int = 100) -> list[StoredMessage]:
        """Finish as expired what is past its time before a handset had it.

        Returned as it was before. What goes to the SIP side is the outbox's to end.
        """

    # Sessions

    async def save_session(self, record: SessionRecord) -> bool:
        """Write a session; False when another node has claimed it (epoch)."""

    async def touch_session(
        self, session_id: str, epoch: int, last_activity: int
    ) -> bool:
        """Note activity; False when unknown or claimed by another node."""

    async def end_session(self, session_id: str, epoch: int, ended_at: int) -> bool:
        """Mark a session as ended; False when unknown or claimed by another node."""

    async def session(self, session_id: str) -> SessionRecord | None:
        """Find a session, open or ended and not yet swept."""

    async def open_sessions(self, owner: str | None = None) -> list[SessionRecord]:
        """List the sessions that have not ended, of one node or of all."""

    async def claim(self, session_id: str, owner: str) -> SessionRecord | None:
        """Take a session over: the epoch is raised, the new record returned."""

    async def sweep_sessions(self, before: int) -> int:
        """Forget sessions that ended before that time; how many is returned."""

    # Registrations

    async def registration(self, new: Registration) -> Registration:
        """Return the registration of ``new.aor``; the first one given is kept."""

    async def save_registration(self, registration: Registration) -> None:
        """Keep the CSeq (and Call-ID) that is in use from now on."""

    # History

    def note_history(self, entry: HistoryEntry) -> None:
        """Note an event without waiting; it is written within about a second.

        Never raises; when too many wait, the oldest are dropped and counted.
        """

    async def add_history(self, entries: Sequence[HistoryEntry]) -> None:
        """Commit events."""

    async def history(self, message_id: str) -> list[HistoryEntry]:
        """List what happened to a message, oldest first."""

    async def messages_of(self, user: str, limit: int = 50) -> list[str]:
        """List the ids of a user's messages, the newest first."""

    # Upkeep

    async def sweep(self, now: int) -> dict[str, int]:
        """Forget what is past its keeping time or limit; the rows gone, per table."""

    def writes_waiting(self) -> int:
        """Give how many writes wait for their commit."""

    async def counts(self) -> dict[str, int]:
        """Count rows per table and state, and the writes that wait (gauges)."""
