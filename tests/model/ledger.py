"""What the model knows: messages, sends and sessions, and what must hold of them.

The plainest account of docs/semantics.md that can be kept: a message is waiting or it
has ended, and a session has seen it or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.csp.envelope import Message, Mode, Transaction
from gateway.csp.messaging import (
    DeliveryReportRequest,
    MessageNotification,
    NewMessage,
)
from gateway.csp.schema import Version
from gateway.igateway import Peer
from gateway.sip.message import Request
from tests.model.world import World
from tests.services.doubles import Handset

OFFER_AGAIN = 30.0
OFFER_TIMES = 3


@dataclass
class Inbound:
    """One message for a handset that was acknowledged, or a report."""

    id: str
    user: str
    text: str
    sender: str
    number: int
    expires: float
    final: str | None = None
    confirmed: bool = False
    rejected: bool = False

    @property
    def report(self) -> bool:
        """Whether it tells of a message of the user's own."""
        return self.text.startswith("report")


@dataclass
class Came:
    """One MESSAGE as the core has put it, and what it was answered."""

    request: Request
    user: str
    text: str
    status: int = 0
    away_at: float = 0.0
    """When it was last answered 503, though it had been accepted."""


@dataclass
class Sent:
    """One SendMessage of a handset, with every time that it was put."""

    text: str
    to: str
    slot: Slot
    session: str
    life: int
    expires: float
    posts: list[Post] = field(default_factory=list)
    call_ids: list[str] = field(default_factory=list)
    accepted: str | None = None
    """The MessageID under which the handset was told that it is ours."""
    final: str | None = None
    taken: bool = False
    """The core has answered it with 2xx."""
    refused: bool = False
    """The core has answered it with a failure that stays."""


@dataclass
class Post:
    """One time that a SendMessage was put."""

    number: str
    peer: Peer
    at: float
    index: int
    answer: Any = None
    lost: bool = False
    failed: bool = False
    """The exchange failed: perhaps nothing was begun."""


@dataclass
class Seen:
    """One message as a session has seen it."""

    id: str
    times: int
    at: float
    over: bool = False
    """Answered: it is not offered in this session again."""
    offer: Transaction | None = None


@dataclass
class Slot:
    """One handset and the session that it has now."""

    handset: Handset
    user: str
    multi: int
    push: bool
    priority: int
    last: float
    sure: bool = True
    """Whether the store has heard all that happened to the session."""
    shaken: bool = False
    """The store was away since the login: what it last heard may be long ago."""
    lapsed: bool = False
    """It was out of memory once, though its end was not written."""
    seen: dict[str, Seen] = field(default_factory=dict)
    ever: set[str] = field(default_factory=set)
    latest: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    more: bool = False
    """What the Poll flag of the last reply said."""

    @property
    def open(self) -> bool:
        """Whether the handset has a session."""
        return self.handset.session is not None

    def begun_anew(self) -> None:
        """Forget what the node does not know any more after it was killed."""
        self.seen.clear()

    def read_anew(self) -> None:
        """Forget what the session was done with, though it had not confirmed it."""
        self.seen = {
            name: seen
            for name, seen in self.seen.items()
            if not seen.over and seen.times < OFFER_TIMES
        }


def name_of(offer: Transaction) -> str:
    """Give the id of the row that an offer shows."""
    primitive: Any = offer.primitive
    name: str = primitive.message_info.message_id
    return f"{name}R" if isinstance(primitive, DeliveryReportRequest) else name


def offers(message: Message) -> list[Transaction]:
    """Give the server's transactions of a reply that show a message."""
    kinds = NewMessage | MessageNotification | DeliveryReportRequest
    return [
        t
        for t in message.transactions
        if t.mode is Mode.REQUEST and isinstance(t.primitive, kinds)
    ]


class Account:
    """All messages of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.inbound: dict[str, Inbound] = {}
        self.sent: dict[str, Sent] = {}
        self.came: list[Came] = []

    def scan(self) -> None:
        """Take up what is new in the store: nothing there may be unheard of."""
        texts = {came.text: came for came in self.came}
        for user in ("alice", "bob"):
            for row in self.world.waiting(user):
                if row.id in self.inbound:
                    continue
                text = row.content.decode()
                if row.id.endswith("R") and "report" in row.headers:
                    text = f"report {row.id}"
                elif text in self.sent:
                    self._delivered_here(text)
                else:
                    assert text in texts, f"nobody sent {text!r}"
                    same = [m for m in self.inbound.values() if m.text == text]
                    assert not same, f"{text!r} was stored twice"
                self.inbound[row.id] = Inbound(
                    row.id,
                    user,
                    text,
                    row.sender,
                    len(self.inbound),
                    row.expires_at / 1e6,
                )

    def _delivered_here(self, text: str) -> None:
        sent = self.sent[text]
        sent.taken = True
        copies = [m for m in self.inbound.values() if m.text == text]
        assert len(copies) < len(set(sent.call_ids)), f"{text!r} came too often"

    def check(self) -> None:
        """Check that every accepted message waits, or has ended as it should."""
        for message in self.inbound.values():
            self._check_inbound(message)
        for sent in self.sent.values():
            if sent.accepted is not None:
                self._check_sent(sent)

    def _check_inbound(self, message: Inbound) -> None:
        row = self.world.row(message.id)
        if message.final is not None:
            assert row is None or row.state == message.final, "ended twice"
            return
        assert row is not None, f"{message.text!r} is lost"
        message.final = row.state
        past = self.world.now >= message.expires
        allowed = {
            None: not (message.confirmed or message.rejected),
            "delivered": message.confirmed,
            "rejected": message.rejected,
            "expired": past,
        }
        assert allowed.get(row.state), f"{message.text!r} is {row.state}"

    def _check_sent(self, sent: Sent) -> None:
        if sent.taken and sent.final is None:
            row = self.world.row(sent.accepted or "")
            if row is None:
                return  # taken over within its own POST
        else:
            row = self.world.row(sent.accepted or "")
        if sent.final is not None:
            assert row is None or row.state == sent.final, "ended twice"
            return
        assert row is not None, f"{sent.text!r} is lost"
        sent.final = row.state
        past = self.world.now >= sent.expires
        allowed = {
            None: True,
            "delivered": sent.taken,
            # Bob is served here: his mailbox may be full.
            "failed": sent.refused or sent.to == "bob",
            "expired": past,
        }
        assert allowed.get(row.state), f"{sent.text!r} is {row.state}"
        if row.state in ("failed", "expired"):
            assert f"{row.id}R" in self.inbound, f"nobody hears of {sent.text!r}"

    # -- offers ------------------------------------------------------------------

    def offered(self, slot: Slot, offer: Transaction, *, lost: bool) -> None:
        """Check one offer, and note it unless its reply was lost."""
        name = name_of(offer)
        message = self.inbound[name]
        assert message.user == slot.user, "offered to another user"
        assert message.final is None, f"{message.text!r} is offered after its end"
        assert not message.confirmed and not message.rejected
        now, known = self.world.now, slot.seen.get(name)
        if known is not None:
            assert not known.over, f"{message.text!r} is offered after its answer"
            assert known.id == offer.id, "another id"
            assert now - known.at >= OFFER_AGAIN, "too soon"
            assert known.times < OFFER_TIMES, "too often"
        if lost:
            if known is not None:
                known.at = 0.0  # it comes with the next reply
            return
        if known is None:
            assert offer.id is not None
            slot.seen[name] = Seen(offer.id, 1, now, offer=offer)
        else:
            known.times += 1
            known.at = now
        if name not in slot.ever:
            slot.ever.add(name)
            before = slot.latest.get(message.sender, -1)
            assert message.number > before, "out of order"
            slot.latest[message.sender] = message.number

    def waiting_for(self, slot: Slot) -> list[Inbound]:
        """Give the messages of a slot's user that have not ended."""
        return [
            m for m in self.inbound.values() if m.user == slot.user and m.final is None
        ]


VERSIONS = (Version.V1_2, Version.V1_3)
