"""The sessions that are open here: found, kept in the store, expired, ended.

What must outlive the process stands in the store; this is a cache with one owner
(semantics 5). Services learn of beginnings and ends through ``on_opened`` and
``on_closed``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, NamedTuple, TypeVar

from twisted.internet import defer, task
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.config import Session as Settings
from gateway.csp.envelope import Version
from gateway.csp.negotiation import Agreed
from gateway.csp.session import Session
from gateway.errors import Unreachable
from gateway.log import Logger
from gateway.store import SessionRecord, Store

T = TypeVar("T")
LOGGED_OUT = 200
EXPIRED = 600
FORCED = 601
_DAY = 86400
_RESTORING = 32
_SLACK = 1000  # looks of ended sessions that are borne with


class Ended(NamedTuple):
    """A session that is over; ``farewell`` is the code its handset is yet to hear."""

    record: SessionRecord
    farewell: int | None


class Sessions:
    """All open sessions of this node, by id and by AoR."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, store: Store, settings: Settings, node: str
    ) -> None:
        self._clock = clock
        self._store = store
        self._settings = settings
        self._node = node
        self._open: dict[str, Session] = {}
        self._by_aor: dict[str, list[Session]] = {}
        self._expiries: list[tuple[float, str]] = []
        self._looks: dict[str, float] = {}
        self._call: IDelayedCall | None = None
        self._restoring: dict[str, defer.Deferred[None]] = {}
        self._recallable: dict[str, list[str]] = {}
        self._recalls: dict[str, defer.Deferred[Exception | None]] = {}
        self._pause: defer.Deferred[None] | None = None
        self.restoring = 0
        """How many sessions are claimed one after the other after a start."""
        self.on_opened: list[Callable[[Session], None]] = []
        self.on_closed: list[Callable[[Session, int], None]] = []

    def apply(self, settings: Settings) -> None:
        """Take limits for sessions that come into memory from now on."""
        self._settings = settings

    def __len__(self) -> int:
        return len(self._open)

    # -- finding -----------------------------------------------------------------

    def all(self) -> Iterable[Session]:
        """Give every open session that is in memory."""
        return self._open.values()

    def get(self, session_id: str) -> Session | None:
        """Give an open session that is in memory."""
        return self._open.get(session_id)

    def of(self, aor: str) -> list[Session]:
        """Give the open sessions of a user."""
        return self._by_aor.get(aor, [])

    def count(self, aor: str) -> int:
        """Count the open sessions of a user."""
        return len(self.of(aor))

    async def find(self, session_id: str) -> Session | None:
        """Give an open session, claiming it when it is not in memory.

        Raises Unreachable when the store cannot be asked.
        """
        session = self._open.get(session_id)
        if session is not None or len(session_id) > 64:
            return session
        while (waiting := self._restoring.get(session_id)) is not None:
            await _fired(waiting)
            if session_id in self._open:
                return self._open[session_id]
        waiting = self._restoring[session_id] = defer.Deferred()
        try:
            return await self._claim(session_id)
        finally:
            del self._restoring[session_id]
            waiting.callback(None)

    async def _claim(self, session_id: str) -> Session | None:
        record = await self._store.session(session_id)
        if record is None or record.ended_at is not None:
            return None
        record = await self._store.claim(session_id, self._node)
        if record is None or record.ended_at is not None:
            return None
        session = _restored(record, self._settings.queue)
        self._admit(session)
        return session

    async def ended(self, session_id: str) -> Ended | None:
        """Give the kept properties of a session that is over, if any."""
        if len(session_id) > 64:
            return None
        record = await self._store.session(session_id)
        if record is None or record.ended_at is None:
            return None
        kept = min(record.keep_alive * self._settings.retention, _DAY)
        if record.ended_at / 1e6 + kept < self._clock.seconds():
            return None
        return Ended(record, record.state.get("farewell"))

    async def told(self, ended: Ended) -> None:
        """Note that the handset has heard how its session ended."""
        record = ended.record
        state = {k: v for k, v in record.state.items() if k != "farewell"}
        await self._store.save_session(_replaced(record, state=state))

    # -- beginning and end -------------------------------------------------------

    async def open(self, session: Session) -> None:
        """Commit a new or re-established session and announce it.

        Raises Unreachable also when another node took the session over meanwhile.
        """
        session.last_activity = session.saved_activity = self._clock.seconds()
        if not await self._store.save_session(_record(session, self._node)):
            raise Unreachable("the session was claimed by another node")
        self._admit(session)

    def _admit(self, session: Session) -> None:
        twin = self._open.get(session.id)
        if twin is not None:  # re-established twice at a time: the later one stays
            self._drop(twin, FORCED)
        self._open[session.id] = session
        self._by_aor.setdefault(session.aor, []).append(session)
        self._watch(session)
        for announce in self.on_opened:
            announce(session)

    async def save(self, session: Session) -> None:
        """Commit what was agreed anew."""
        session.saved_activity = session.last_activity
        self._watch(session)
        if not await self._store.save_session(_record(session, self._node)):
            self._drop(session, FORCED)

    def touch(self, session: Session) -> None:
        """Note that the handset was heard; written after a tenth of KeepAliveTime."""
        now = session.last_activity = self._clock.seconds()
        if now - session.saved_activity >= session.keep_alive / 10:
            session.saved_activity = now
            d = defer.ensureDeferred(
                self._store.touch_session(session.id, session.epoch, int(now * 1e6))
            )
            d.addCallbacks(self._touched, self._untouched, callbackArgs=(session,))

    def _touched(self, ours: bool, session: Session) -> None:
        if not ours:
            self._drop(session, FORCED)

    def _untouched(self, failure: Any) -> None:
        if failure.check(Unreachable):
            self._log.warn("last activity not written: {cause}", cause=failure.value)
        else:
            self._log.failure("last activity not written", failure)

    async def close(self, session: Session, code: int) -> None:
        """End a session; with 600 or 601 its handset hears Disconnect when it polls."""
        if not self._drop(session, code):
            return
        record = _record(session, self._node)
        state = dict(record.state)
        if code != LOGGED_OUT:
            state["farewell"] = code
        ended = int(self._clock.seconds() * 1e6)
        await self._store.save_session(_replaced(record, state=state, ended_at=ended))

    def _drop(self, session: Session, code: int) -> bool:
        if self._open.get(session.id) is not session:
            return False
        del self._open[session.id]
        self._looks.pop(session.id, None)
        others = [s for s in self._by_aor[session.aor] if s is not session]
        if others:
            self._by_aor[session.aor] = others
        else:
            del self._by_aor[session.aor]
        for announce in self.on_closed:
            announce(session, code)
        return True

    # -- time --------------------------------------------------------------------

    def _watch(self, session: Session) -> None:
        """See to it that there is a look at the session when it may have expired."""
        at = session.expires_at()
        if at >= self._looks.get(session.id, float("inf")):
            return  # there is an earlier look, which will find out
        self._looks[session.id] = at
        heapq.heappush(self._expiries, (at, session.id))
        if len(self._expiries) > 2 * len(self._looks) + _SLACK:
            # Sessions that ended leave their looks behind.
            self._expiries = [(at, name) for name, at in self._looks.items()]
            heapq.heapify(self._expiries)
        self._schedule()

    def _schedule(self) -> None:
        if not self._expiries:
            return
        wait = max(self._expiries[0][0] - self._clock.seconds(), 0.05)
        if self._call is None:
            self._call = self._clock.callLater(wait, self._expire)
        elif self._call.getTime() > self._expiries[0][0] + 0.05:
            self._call.reset(wait)

    def _expire(self) -> None:
        self._call = None
        now = self._clock.seconds()
        while self._expiries and self._expiries[0][0] <= now:
            at, session_id = heapq.heappop(self._expiries)
            session = self._open.get(session_id)
            if session is None or self._looks.get(session_id) != at:
                continue
            del self._looks[session_id]
            if session.expires_at() > now:
                self._watch(session)
            else:
                self._log.info("session {session} expired", session=session.id[:6])
                self._background(self.close(session, EXPIRED))
        self._schedule()

    def _background(self, work: Any) -> None:
        d = defer.ensureDeferred(work)
        d.addErrback(self._not_ended)

    def _not_ended(self, failure: Any) -> None:
        """A session whose end is not written ends again when it is next asked for."""
        if failure.check(Unreachable):
            self._log.warn("a session's end waits: {cause}", cause=str(failure.value))
        else:
            self._log.failure("a session was not ended", failure)

    async def restore(self) -> int:
        """Claim every open session of the store, a few at a time; how many.

        Each few are followed by a pause as long as they took, so that half of the time
        is left to live traffic: who is heard meanwhile is claimed at once (``find``,
        ``recall``). Raises Unreachable, and CancelledError when it is stopped.
        """
        records = await self._store.open_sessions()
        self.restoring = len(records)
        for record in records:
            self._recallable.setdefault(record.aor, []).append(record.id)
        try:
            for first in range(0, len(records), _RESTORING):
                begun = self._clock.seconds()
                some = [record.id for record in records[first : first + _RESTORING]]
                await self._find_all(some)
                took = self._clock.seconds() - begun
                if took > 0:
                    self._pause = task.deferLater(self._clock, took)
                    await self._pause
        finally:
            self.restoring = 0
            self._recallable.clear()
        return len(records)

    def returns(self, session: Session) -> bool:
        """Tell whether a session is being claimed, and no new one."""
        return session.id in self._restoring

    async def recall(self, aor: str) -> None:
        """Claim the sessions of a user before their turn; who waits goes on in order.

        Raises Unreachable.
        """
        recalled = self._recalls.get(aor)
        if recalled is None:
            session_ids = self._recallable.pop(aor, None)
            if session_ids is None:
                return
            recalled = self._recalls[aor] = defer.Deferred()
            defer.ensureDeferred(self._recall(aor, session_ids))
        error = await _fired(recalled)
        if error is not None:
            raise error

    async def _recall(self, aor: str, session_ids: Iterable[str]) -> None:
        error: Exception | None = None
        try:
            await self._find_all(session_ids)
        except Exception as raised:
            error = raised  # for all who wait
        self._recalls.pop(aor).callback(error)

    async def _find_all(self, session_ids: Iterable[str]) -> None:
        work = [defer.ensureDeferred(self.find(each)) for each in session_ids]
        outcomes: list[Any] = await defer.DeferredList(work, consumeErrors=True)
        for found, outcome in outcomes:
            if not found:
                outcome.raiseException()

    def stop(self) -> None:
        """Cancel the timer; the sessions stay open in the store."""
        if self._pause is not None:
            self._pause.cancel()
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _fired(d: defer.Deferred[T]) -> defer.Deferred[T]:
    """Give a Deferred that fires with ``d`` and can be awaited by many, in order."""
    mine: defer.Deferred[T] = defer.Deferred()

    def fire(result: T) -> T:
        mine.callback(result)
        return result

    d.addCallback(fire)
    return mine


def _record(session: Session, node: str) -> SessionRecord:
    services = session.services
    return SessionRecord(
        id=session.id,
        aor=session.aor,
        client_id=session.client_id,
        version=int(session.version),
        cookie=session.cookie,
        bearer=session.bearer,
        keep_alive=session.keep_alive,
        state={
            "user": session.user,
            "agreed": asdict(session.agreed),
            "services": None if services is None else sorted(services),
            "ready": session.ready,
        },
        last_activity=int(session.last_activity * 1e6),
        owner=node,
        epoch=session.epoch,
    )


def _replaced(record: SessionRecord, **changes: Any) -> SessionRecord:
    fields = {name: getattr(record, name) for name in SessionRecord.__slots__}
    return SessionRecord(**{**fields, **changes})


def _restored(record: SessionRecord, queue_limit: int) -> Session:
    """Make a session from its record: the context is as before (T-6-19)."""
    state = record.state
    services = state.get("services")
    return Session(
        id=record.id,
        aor=record.aor,
        user=state["user"],
        client_id=record.client_id,
        version=Version(record.version),
        cookie=record.cookie,
        bearer=record.bearer,
        keep_alive=record.keep_alive,
        last_activity=record.last_activity / 1e6,
        saved_activity=record.last_activity / 1e6,
        epoch=record.epoch,
        agreed=Agreed.restored(state["agreed"]),
        services=None if services is None else frozenset(services),
        ready=bool(state.get("ready")),
        queue_limit=queue_limit,
    )


re_established = _restored
