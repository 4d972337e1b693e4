"""The store on SQLite and PostgreSQL (``gateway.store.Store``).

With a reactor, writes go through the one writer thread and reads through a small pool;
without one (commands, tests, ``sqlite://`` in memory) all is done in the caller's
thread and every call has its result at once.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from itertools import count
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed

from gateway.errors import ConfigError, Unreachable
from gateway.log import Logger
from gateway.store import (
    Added,
    Addition,
    Clash,
    FinalState,
    HistoryEntry,
    Limits,
    Registration,
    SessionRecord,
    StoredMessage,
    Subscriber,
    history,
    messages,
    migrate,
    sessions,
    subscribers,
    upkeep,
)
from gateway.store.cache import SubscriberCache
from gateway.store.link import Database, Link, Params, Row, Sql
from gateway.store.reader import InlineReader, PooledReader, Reader
from gateway.store.secrets import Secrets
from gateway.store.upkeep import Bounds
from gateway.store.writer import Committer, InlineWriter, Operation, Writer

T = TypeVar("T")

_HISTORY_DELAY = 0.5
_HISTORY_WAITING = 20_000


class SqlStore:
    """See ``gateway.store.Store``; ``clock_us`` gives UTC microseconds."""

    _log = Logger()

    def __init__(
        self,
        url: str,
        reactor: Any,
        secrets: Secrets,
        clock_us: Callable[[], int],
        bounds: Bounds | None = None,
    ) -> None:
        self.database = Database(url)
        self._reactor = None if self.database.memory else reactor
        self._secrets = secrets
        self._clock_us = clock_us
        self.bounds = bounds or Bounds()
        self._committer = Committer(
            lambda: self.database.link(write=True), time.monotonic
        )
        self._writer: Writer | InlineWriter = (
            InlineWriter(self._committer)
            if self._reactor is None
            else Writer(self._committer, self._reactor)
        )
        self._reader: Reader | None = None
        self._cache = (
            None
            if self._reactor is None
            else SubscriberCache(self.subscriber_revision, self._reactor.seconds)
        )
        self._tokens = (f"{os.urandom(8).hex()}-{number}" for number in count())
        self._noted: deque[HistoryEntry] = deque()
        self._noting: Any = None
        self._history_dropped = 0
        self._waiting_estimate = 0

    # Opening and closing

    async def open(self) -> None:
        """Connect, check schema (or make it) and key, start the threads."""
        self.database.make_file()
        connect = lambda: self.database.link(write=False)  # noqa: E731
        if self._reactor is None:
            self._reader = InlineReader(connect)
        else:
            self._reader = PooledReader(connect, self._reactor)
        try:
            await self._reader.run(lambda: migrate.check(self.database))
            await self._check_durability()
            # Better now than at each login: is the key the one that sealed?
            await self.subscribers(limit=1)
            self._count_waiting(await self.counts())
        except BaseException:
            self._reader.stop()
            raise
        self._writer.start()

    async def _check_durability(self) -> None:
        """Read back what promises rest on (semantics 6)."""
        settings = await self._read(lambda link: link.settings())
        if settings.get("synchronous_commit", "on") != "on":
            raise ConfigError("store.url", "synchronous_commit cannot be set to on")
        if settings.get("fsync", "on") != "on":
            self._log.warn(
                "the database runs with fsync off: a power failure loses messages"
            )

    async def close(self) -> None:
        """Commit what waits, end the threads, let the connections go."""
        if self._noting is not None:
            self._noting.cancel()
            self._noting = None
        if self._noted:
            entries, self._noted = list(self._noted), deque()
            try:
                await self.add_history(entries)
            except Unreachable as error:
                self._log.warn(
                    "{count} history entries are lost: {error}",
                    count=len(entries),
                    error=error,
                )
        await self._writer.stop()
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        self.database.engine.dispose()

    def settings(self) -> dict[str, str]:
        """Read back the durability settings on the writer's own connection.

        For tests, while nothing is written; empty before the first write.
        """
        link = self._committer.link
        return {} if link is None else link.settings()

    @property
    def commits(self) -> int:
        """How many transactions were committed."""
        return self._committer.commits

    def _read(self, function: Callable[[Link], T]) -> Deferred[T]:
        if self._reader is None:
            raise Unreachable("the store is not open")
        return self._reader.read(function)

    def _rows(self, sql: Sql, params: Params) -> Deferred[list[Row]]:
        if any(type(v) is str and messages.storable(v) != v for v in params.values()):
            # Nothing is stored under such a name, and PostgreSQL takes offence.
            return succeed([])
        return self._read(lambda link: link.rows(sql, params))

    def _write(self, operation: Operation, params: Any, key: Hashable) -> Deferred[Any]:
        return self._writer.submit(operation, params, key)

    # Subscribers

    async def subscriber(self, aor: str) -> Subscriber | None:
        """Find a subscriber by his AoR."""
        return await self._one_subscriber(subscribers.BY_AOR, {"aor": aor})

    async def subscriber_by_user(self, user_id: str) -> Subscriber | None:
        """Find a subscriber by his IMPS address."""
        return await self._one_subscriber(subscribers.BY_USER, {"user_id": user_id})

    async def subscriber_by_msisdn(self, msisdn: str) -> Subscriber | None:
        """Find a subscriber by his telephone number."""
        return await self._one_subscriber(subscribers.BY_MSISDN, {"msisdn": msisdn})

    async def _one_subscriber(self, sql: Sql, params: Params) -> Subscriber | None:
        async def load() -> Subscriber | None:
            rows = await self._rows(sql, params)
            return subscribers.from_row(rows[0], self._secrets) if rows else None

        if self._cache is None:
            return await load()
        return await self._cache.get((sql, *params.values()), load)

    def _forget_subscribers(self) -> None:
        if self._cache is not None:
            self._cache.clear()

    async def subscribers(
        self, after: str | None = None, limit: int = 1000
    ) -> list[Subscriber]:
        """List a page of subscribers in order of AoR."""
        params = {"after": after or "", "limit": limit}
        rows = await self._rows(subscribers.PAGE, params)
        return [subscribers.from_row(row, self._secrets) for row in rows]

    async def add_subscribers(
        self, new: Sequence[Subscriber], *, replace: bool = False
    ) -> list[Clash]:
        """Add all of them, or none and say why."""
        rows = [subscribers.to_row(each, self._secrets) for each in new]
        addition = subscribers.Addition(rows, replace, self.bounds.subscribers)
        found: list[Clash] = await self._write(subscribers.ADD, addition, "subscribers")
        self._forget_subscribers()
        return found

    async def clashes(
        self, new: Sequence[Subscriber], *, replace: bool = False
    ) -> list[Clash]:
        """Say what ``add_subscribers`` would; nothing is written."""
        rows = [subscribers.keys(each) for each in new]
        return await self._read(partial(subscribers.would_clash, rows, replace))

    async def remove_subscriber(self, aor: str) -> bool:
        """Remove a subscriber and his registration."""
        gone: bool = await self._write(subscribers.REMOVE, {"aor": aor}, "subscribers")
        self._forget_subscribers()
        return gone

    async def subscriber_revision(self) -> int:
        """Return the number that each change of a subscriber raises."""
        rows = await self._rows(subscribers.REVISION, subscribers.REVISION_PARAMS)
        return int(rows[0][0]) if rows else 0

    # Messages

    async def add_message(
        self, message: StoredMessage, limits: Limits | None = None
    ) -> Addition:
        """Commit a message, once for its inbound key, within the limits."""
        if self._waiting_estimate >= self.bounds.messages:
            limits = Limits(max_messages=0, max_bytes=0)
        if limits is None:
            row = messages.to_row(message)
            added: Addition = await self._write(messages.ADD, row, message.id)
        else:
            row = messages.to_row_within(message, limits)
            added = await self._write(messages.ADD_WITHIN, row, message.id)
        if isinstance(added, Added):
            self._waiting_estimate += 1
        return added

    async def message(self, message_id: str) -> StoredMessage | None:
        """Find a message."""
        rows = await self._rows(messages.ONE, {"id": message_id})
        return messages.from_row(rows[0]) if rows else None

    async def messages(
        self,
        recipient: str,
        after: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> list[StoredMessage]:
        """List what waits for a handset."""
        params = messages.after_params(after, limit)
        params["recipient"] = recipient
        rows = await self._rows(messages.OF_HANDSET, params)
        return [messages.from_row(row) for row in rows]

    async def waiting_to_sip(
        self, after: tuple[int, str] | None = None, limit: int = 100
    ) -> list[StoredMessage]:
        """List what waits to go to the SIP side."""
        rows = await self._rows(messages.OF_SIP, messages.after_params(after, limit))
        return [messages.from_row(row) for row in rows]

    async def finish_message(
        self, message_id: str, state: FinalState, reason: str = ""
    ) -> bool:
        """Give a message its final state; the first wins."""
        params = self._finish(message_id, state, reason)
        first: bool = await self._write(messages.FINISH, params, message_id)
        if first:
            self._waiting_estimate -= 1
        return first

    def _finish(
        self, message_id: str, state: FinalState, reason: str
    ) -> dict[str, Any]:
        return messages.to_finish(
            message_id, state, reason, self._clock_us(), next(self._tokens)
        )

    async def expire_messages(self, now: int, limit: int = 100) -> list[StoredMessage]:
        """Finish as expired what is past its time."""
        rows = await self._rows(messages.EXPIRED, {"now": now, "limit": limit})
        past = [messages.from_row(row) for row in rows]
        if not past:
            return []
        params = [self._finish(each.id, "expired", "") for each in past]
        first: list[bool] = await self._write(messages.FINISH_ALL, params, "expiry")
        self._waiting_estimate -= sum(first)
        return [each for each, mine in zip(past, first, strict=True) if mine]

    # Sessions

    async def save_session(self, record: SessionRecord) -> bool:
        """Write a session, if the epoch is still ours."""
        row = sessions.to_row(record)
        saved: bool = await self._write(sessions.SAVE, row, record.id)
        return saved

    async def touch_session(
        self, session_id: str, epoch: int, last_activity: int
    ) -> bool:
        """Note activity, if the epoch is still ours."""
        params = {"id_": session_id, "epoch_": epoch, "last_activity": last_activity}
        touched: bool = await self._write(sessions.TOUCH, params, session_id)
        return touched

    async def end_session(self, session_id: str, epoch: int, ended_at: int) -> bool:
        """Mark a session as ended, if the epoch is still ours."""
        params = {"id_": session_id, "epoch_": epoch, "ended_at": ended_at}
        ended: bool = await self._write(sessions.END, params, session_id)
        return ended

    async def session(self, session_id: str) -> SessionRecord | None:
        """Find a session."""
        rows = await self._rows(sessions.ONE, {"id": session_id})
        return sessions.from_row(rows[0]) if rows else None

    async def open_sessions(self, owner: str | None = None) -> list[SessionRecord]:
        """List the sessions that have not ended."""
        params = {"all": int(owner is None), "owner": owner or ""}
        rows = await self._rows(sessions.OPEN, params)
        return [sessions.from_row(row) for row in rows]

    async def claim(self, session_id: str, owner: str) -> SessionRecord | None:
        """Take a session over."""
        params = {"id_": session_id, "owner": owner}
        record: SessionRecord | None = await self._write(
            sessions.CLAIM, params, session_id
        )
        return record

    async def sweep_sessions(self, before: int) -> int:
        """Forget sessions that ended before that time."""
        return await self._sweep("sessions", before)

    # Registrations

    async def registration(self, new: Registration) -> Registration:
        """Return the registration of an AoR, made of ``new`` if there is none."""
        found: Registration = await self._write(sessions.REGISTER, new, new.aor)
        return found

    async def save_registration(self, registration: Registration) -> None:
        """Keep what is in use from now on."""
        await self._write(sessions.SAVE_REGISTRATION, registration, registration.aor)

    # History

    def note_history(self, entry: HistoryEntry) -> None:
        """Note an event without waiting."""
        self._noted.append(entry)
        if len(self._noted) > _HISTORY_WAITING:
            self._noted.popleft()
            self._history_dropped += 1
        if self._reactor is None:
            self._flush_history()
        elif self._noting is None:
            self._noting = self._reactor.callLater(_HISTORY_DELAY, self._flush_history)

    def _flush_history(self) -> None:
        entries, self._noted = list(self._noted), deque()
        self._noting = None
        Deferred.fromCoroutine(self._write_history(entries)).addErrback(
            lambda failure: self._log.failure("writing history", failure)
        )

    async def _write_history(self, entries: list[HistoryEntry]) -> None:
        try:
            await self.add_history(entries)
        except Unreachable:
            # Kept for the next time, the oldest first.
            room = max(_HISTORY_WAITING - len(self._noted), 0)
            self._history_dropped += max(len(entries) - room, 0)
            self._noted.extendleft(reversed(entries[-room:] if room else []))
            if self._reactor is not None and self._noting is None:
                self._noting = self._reactor.callLater(5.0, self._flush_history)

    async def add_history(self, entries: Sequence[HistoryEntry]) -> None:
        """Commit events."""
        await self._write(history.ADD, entries, "history")

    async def history(self, message_id: str) -> list[HistoryEntry]:
        """List what happened to a message."""
        rows = await self._rows(history.OF_MESSAGE, {"message_id": message_id})
        return [history.from_row(row) for row in rows]

    async def messages_of(self, user: str, limit: int = 50) -> list[str]:
        """List the ids of a user's messages, the newest first."""
        rows = await self._rows(history.OF_USER, {"aor": user, "limit": limit})
        return [row[0] for row in rows]

    # Upkeep

    async def sweep(self, now: int) -> dict[str, int]:
        """Forget what is past its keeping time or limit."""
        counts = await self.counts()
        self._count_waiting(counts)
        bounds = self.bounds
        plan = {
            "messages": (
                now - bounds.finished_for,
                bounds.messages - self._waiting_estimate,
            ),
            "sessions": (
                now - bounds.ended_for,
                bounds.sessions - counts["sessions_open"],
            ),
            "abandoned": (now - bounds.ended_for, 0),
            "registrations": (0, 0),
            "history": (now - bounds.history_for, bounds.history),
            "history_users": (now - bounds.history_for, bounds.history),
        }
        gone = {}
        for table, (before, keep) in plan.items():
            before = await self._read(partial(upkeep.horizon, table, before, keep))
            gone[table] = await self._sweep(table, before)
        return gone

    async def _sweep(self, table: str, before: int) -> int:
        params = {"before": before, "limit": upkeep.CHUNK}
        total = 0
        while True:
            gone: int = await self._write(upkeep.SWEEP, (table, params), "sweep")
            total += gone
            if gone < upkeep.CHUNK:
                return total

    async def counts(self) -> dict[str, int]:
        """Count rows, and what waits in memory."""
        found = await self._read(upkeep.counts)
        found["writes_waiting"] = self._writer.waiting
        found["history_waiting"] = len(self._noted)
        found["history_dropped"] = self._history_dropped
        found["subscribers_cached"] = 0 if self._cache is None else len(self._cache)
        return found

    def writes_waiting(self) -> int:
        """Give how many writes wait; see ``Store``."""
        return self._writer.waiting

    def _count_waiting(self, counts: dict[str, int]) -> None:
        self._waiting_estimate = (
            counts["messages_to_handset"] + counts["messages_to_sip"]
        )
