"""The SIP transaction layer: retransmission, matching and timers, without I/O.

RFC 3261 17 (transactions), 18 (Via and routing of responses), RFC 3581 (rport), RFC
6026. The rules are the tables of ``machine``. Times are seconds of any clock that
never goes back, passed in; what is to be sent and what has happened is fetched.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from gateway.errors import Malformed, Unreachable
from gateway.sip.headers import Via
from gateway.sip.machine import FIRST, RULES, Action, Input, Kind, State, input_of
from gateway.sip.model import Request, Response
from gateway.sip.routing import (
    MAGIC,
    Hop,
    answer_hop,
    beside,
    branch_of,
    server_key,
    take_via,
    with_via,
)

__all__ = [
    "AckReceived",
    "ClientTransaction",
    "Event",
    "Hop",
    "RequestReceived",
    "ResponseReceived",
    "ServerTransaction",
    "State",
    "TimedOut",
    "Transaction",
    "TransactionLayer",
    "TransportFailed",
]


@dataclass(slots=True, eq=False, kw_only=True)
class ClientTransaction:
    """A request of ours on its way; compared and hashed by identity.

    ``request`` is as it was handed in, without our Via; ``via`` is that value.
    """

    kind: Kind
    state: State
    key: str
    request: Request
    hop: Hop
    via: str
    data: bytes
    interval: float
    deadline: float
    due: float | None = None
    pending: bool = True

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.request.method


@dataclass(slots=True, eq=False, kw_only=True)
class ServerTransaction:
    """A request of a peer to be answered; compared and hashed by identity.

    ``hop`` is where its responses go (RFC 3261 18.2.2), ``method`` the request's.
    """

    kind: Kind
    state: State
    key: str
    method: str
    hop: Hop
    interval: float
    deadline: float
    data: bytes = b""
    due: float | None = None
    pending: bool = True


Transaction = ClientTransaction | ServerTransaction


class RequestReceived(NamedTuple):
    """A new request: answer it with ``respond``."""

    transaction: ServerTransaction
    request: Request
    source: Hop


class ResponseReceived(NamedTuple):
    """A provisional or final response; of finals an INVITE may get several 2xx."""

    transaction: ClientTransaction
    response: Response


class TimedOut(NamedTuple):
    """No final response within 64 T1, or no ACK for ours: the transaction is over."""

    transaction: Transaction


class TransportFailed(NamedTuple):
    """The hop of a request was lost before its answer: the transaction is over."""

    transaction: ClientTransaction
    reason: str


class AckReceived(NamedTuple):
    """An ACK for a 2xx; ``transaction`` is None when it has a branch of its own."""

    transaction: ServerTransaction | None
    request: Request


Event = RequestReceived | ResponseReceived | TimedOut | TransportFailed | AckReceived


class TransactionLayer:
    """All transactions of one endpoint, on one clock."""

    def __init__(
        self,
        *,
        token: Callable[[], str],
        via: Callable[[Hop], str],
        t1: float = 0.5,
        t2: float = 4.0,
        t4: float = 5.0,
        max_transactions: int = 100_000,
    ) -> None:
        """Begin without transactions.

        ``token`` gives an unguessable, never repeated part of a branch, ``via`` our
        ``host:port`` for requests to a hop; ``t1``, ``t2`` and ``t4`` are seconds
        (RFC 3261 17.1.1.1). ``max_transactions`` bounds those waiting for an answer
        and, on their own, those that only absorb repeats.
        """
        self._token = token
        self._via = via
        self._t1, self._t2, self._t4 = t1, t2, t4
        self._life = 64 * t1
        self._max = max_transactions
        self._clients: dict[str, ClientTransaction] = {}
        self._servers: dict[str, ServerTransaction] = {}
        self._pending = 0
        # Ticks; an entry is stale unless its time is the transaction's ``due``.
        self._ticks: list[tuple[float, int, Transaction]] = []
        self._count = 0
        # One queue for each length of lingering: what comes last ends last.
        self._short: deque[tuple[float, Transaction]] = deque()
        self._long: deque[tuple[float, Transaction]] = deque()
        self._out: list[tuple[Hop, bytes]] = []
        self._events: deque[Event] = deque()
        self.puts_off: Callable[[Request], bool] = _takes
        """Whether a new request is refused with 503 before anything is done for it."""

    # What the user of the layer calls.

    def request(self, request: Request, hop: Hop, now: float) -> ClientTransaction:
        """Send a request (RFC 3261 17.1) under a Via with a fresh branch.

        The request itself is not changed, so it may be sent again elsewhere. Raises
        Unreachable at the bound of transactions. An ACK goes by ``send``.
        """
        if request.method == "ACK":
            raise ValueError("an ACK has no transaction")
        branch = MAGIC + self._token()
        via = f"SIP/2.0/{hop.transport.upper()} {self._via(hop)};branch={branch};rport"
        return self._start(request, hop, via, f"{branch} {request.method}", now)

    def cancel(self, invite: ClientTransaction, now: float) -> ClientTransaction | None:
        """Send a CANCEL for an INVITE that had a provisional response.

        RFC 3261 9.1. Returns None when there is nothing to cancel (yet).
        """
        if invite.kind != Kind.INVITE_CLIENT or invite.state != State.PROCEEDING:
            return None
        request = beside(invite.request, "CANCEL")
        key = f"{invite.key.partition(' ')[0]} CANCEL"
        return self._start(request, invite.hop, invite.via, key, now)

    def send(self, request: Request, hop: Hop) -> None:
        """Send a request without a transaction: the ACK for a 2xx (13.2.2.4)."""
        branch = MAGIC + self._token()
        via = f"SIP/2.0/{hop.transport.upper()} {self._via(hop)};branch={branch};rport"
        self._out.append((hop, with_via(request, via).encode()))

    def respond(
        self, transaction: ServerTransaction, response: Response, now: float
    ) -> None:
        """Send a response (17.2); one that comes too late or twice is dropped."""
        step = input_of(response.status)
        rules = RULES[transaction.kind].get(transaction.state)
        if rules is None or step not in rules:
            return
        transaction.data = response.encode()
        self._step(transaction, step, now)

    def receive(self, message: Request | Response, source: Hop, now: float) -> None:
        """Take a message from the transport (18.1.2, 18.2.1).

        The top Via of a request is given ``received`` and ``rport``. What cannot be
        matched or routed, stray responses above all, is dropped.
        """
        if isinstance(message, Response):
            self._response(message, now)
            return
        try:
            via = take_via(message, source)
            key = server_key(message, via)
        except Malformed:
            return
        transaction = self._servers.get(key)
        if message.method == "ACK":
            # An ACK for a 2xx has a branch of its own and goes to the user.
            if transaction is None:
                self._events.append(AckReceived(None, message))
            else:
                self._step(transaction, Input.ACK, now, message)
        elif transaction is not None:
            self._step(transaction, Input.REPEATED, now)
        elif self._pending >= self._max or self.puts_off(message):
            self._refuse(message, answer_hop(via, source), key)
        else:
            self._accept(message, via, key, source, now)

    def find_invite(self, cancel: Request) -> ServerTransaction | None:
        """Find the INVITE that a received CANCEL means (9.2), None when it is gone."""
        try:
            key = server_key(cancel, cancel.via)
        except Malformed:
            return None
        return self._servers.get(key.rpartition(" ")[0] + " INVITE")

    def awaits(self, request: Request) -> bool:
        """Tell whether a received request is one of ours that came back to us."""
        try:
            branch = request.via.branch
        except Malformed:
            return False
        return f"{branch} {request.method}" in self._clients

    def transport_failed(
        self, hop: Hop, now: float, reason: str = "the connection was lost"
    ) -> None:
        """End every client transaction that waits at a hop with TransportFailed."""
        for transaction in list(self._clients.values()):
            if transaction.hop == hop and transaction.pending:
                self._step(transaction, Input.BROKEN, now, reason)

    def next_timer(self) -> float | None:
        """When ``handle_timer`` is to be called next; None when nothing waits."""
        ticks = self._ticks
        while ticks and ticks[0][2].due != ticks[0][0]:
            heappop(ticks)
        times = [queue[0][0] for queue in (self._short, self._long) if queue]
        if ticks:
            times.append(ticks[0][0])
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due at ``now``: retransmit, give up, forget."""
        ticks = self._ticks
        while ticks and ticks[0][0] <= now:
            when, _, transaction = heappop(ticks)
            if transaction.due == when:
                self._tick(transaction, now)
        for queue in (self._short, self._long):
            while queue and queue[0][0] <= now:
                self._step(queue.popleft()[1], Input.LINGERED, now)

    def data_to_send(self) -> list[tuple[Hop, bytes]]:
        """Fetch what is to be sent now, in order."""
        out, self._out = self._out, []
        return out

    def next_event(self) -> Event | None:
        """Fetch what has happened, oldest first; None when there is no more."""
        return self._events.popleft() if self._events else None

    def counts(self) -> dict[str, int]:
        """Gauges: what waits for an answer, what lingers, and the timer entries."""
        return {
            "clients": len(self._clients),
            "servers": len(self._servers),
            "pending": self._pending,
            "lingering": len(self._short) + len(self._long),
            "ticks": len(self._ticks),
        }

    # How transactions begin.

    def _start(
        self, request: Request, hop: Hop, via: str, key: str, now: float
    ) -> ClientTransaction:
        if self._pending >= self._max:
            raise Unreachable("too many SIP transactions wait for an answer")
        invite = request.method == "INVITE"
        kind = Kind.INVITE_CLIENT if invite else Kind.CLIENT
        transaction = ClientTransaction(
            kind=kind,
            state=FIRST[kind],
            key=key,
            request=request,
            hop=hop,
            via=via,
            data=with_via(request, via).encode(),
            interval=self._t1,
            deadline=now + self._life,
        )
        self._clients[key] = transaction
        self._pending += 1
        self._out.append((hop, transaction.data))
        self._wait(transaction, now + self._t1)
        return transaction

    def _accept(
        self, request: Request, via: Via, key: str, source: Hop, now: float
    ) -> None:
        invite = request.method == "INVITE"
        kind = Kind.INVITE_SERVER if invite else Kind.SERVER
        transaction = ServerTransaction(
            kind=kind,
            state=FIRST[kind],
            key=key,
            method=request.method,
            hop=answer_hop(via, source),
            interval=self._t2,
            deadline=now + self._life,
        )
        self._servers[key] = transaction
        self._pending += 1
        self._events.append(RequestReceived(transaction, request, source))
        if invite:
            # At once instead of after 200 ms: whether the user is quick is unknown.
            self.respond(transaction, request.response(100), now)
        else:
            self._wait(transaction, now + self._t2)

    def _refuse(self, request: Request, hop: Hop, key: str) -> None:
        """Answer 503 without keeping anything (RFC 3261 21.5.4)."""
        number = zlib.crc32(key.encode("utf-8", "replace"))
        response = request.response(503, tag=f"{number:08x}")
        # Not the same for all: they shall not come again all at once.
        response.headers.set("Retry-After", str(5 + number % 6))
        self._out.append((hop, response.encode()))

    def _response(self, response: Response, now: float) -> None:
        """Match a response by branch and CSeq method (17.1.3)."""
        method = (response.headers.get("CSeq") or "").rpartition(" ")[2]
        transaction = self._clients.get(f"{branch_of(response)} {method}")
        if transaction is not None:
            self._step(transaction, input_of(response.status), now, response)

    # How they go on.

    def _step(
        self,
        transaction: Transaction,
        step: Input,
        now: float,
        about: Request | Response | str | None = None,
    ) -> None:
        """Look the step up in the rules and do what they say."""
        rules = RULES[transaction.kind].get(transaction.state)
        rule = None if rules is None else rules.get(step)
        if rule is None:
            return
        transaction.state, actions = rule
        for action in actions:
            if action == Action.SEND:
                if transaction.data:
                    self._out.append((transaction.hop, transaction.data))
            elif action == Action.LINGER:
                self._linger(transaction, now)
            else:
                self._act(transaction, action, now, about)
        if transaction.state == State.TERMINATED:
            self._forget(transaction)

    def _act(
        self,
        transaction: Transaction,
        action: Action,
        now: float,
        about: Request | Response | str | None,
    ) -> None:
        """Do one action other than sending and lingering."""
        if action == Action.TELL_TIMEOUT:
            self._events.append(TimedOut(transaction))
        elif action == Action.QUIET:
            transaction.due = None
        elif action == Action.GUARD:
            transaction.interval = self._t1
            transaction.deadline = now + self._life
            self._wait(transaction, now + self._t1)
        elif isinstance(transaction, ServerTransaction):
            if action == Action.TELL_ACK and isinstance(about, Request):
                self._events.append(AckReceived(transaction, about))
        elif action == Action.TELL_BROKEN:
            self._events.append(TransportFailed(transaction, str(about)))
        elif isinstance(about, Response):
            if action == Action.TELL:
                self._events.append(ResponseReceived(transaction, about))
            elif action == Action.SEND_ACK:
                ack = beside(transaction.request, "ACK")
                ack.headers.set("To", about.headers.get("To") or "")
                data = with_via(ack, transaction.via).encode()
                self._out.append((transaction.hop, data))

    def _tick(self, transaction: Transaction, now: float) -> None:
        """Retransmit at A, E and G, give up at B, F and H (17.1.1.2, 17.1.2.2)."""
        if now >= transaction.deadline:
            transaction.due = None
            self._step(transaction, Input.EXPIRED, now)
            return
        if transaction.hop.transport == "udp":  # streams need no retransmission
            self._step(transaction, Input.TICK, now)
        interval = transaction.interval * 2
        if transaction.kind != Kind.INVITE_CLIENT:
            interval = min(interval, self._t2)
            if transaction.state == State.PROCEEDING:
                interval = self._t2
        transaction.interval = interval
        self._wait(transaction, min(now + interval, transaction.deadline))

    def _wait(self, transaction: Transaction, when: float) -> None:
        transaction.due = when
        self._count += 1
        heappush(self._ticks, (when, self._count, transaction))

    def _linger(self, transaction: Transaction, now: float) -> None:
        """Keep a finished transaction to absorb repeats, over UDP at least.

        Timers D, J, L and M last 64 T1, I lasts T4; on streams D, I and J are zero.
        """
        transaction.due = None
        self._settle(transaction)
        accepted = transaction.state == State.ACCEPTED
        if transaction.hop.transport != "udp" and not accepted:
            self._step(transaction, Input.LINGERED, now)
            return
        if transaction.state == State.CONFIRMED:
            queue, when = self._short, now + self._t4
        else:
            queue, when = self._long, now + self._life
        queue.append((when, transaction))
        if len(queue) > self._max:
            # Better to answer a late repeat anew than to grow without bound.
            self._step(queue.popleft()[1], Input.LINGERED, now)

    def _settle(self, transaction: Transaction) -> None:
        if transaction.pending:
            transaction.pending = False
            self._pending -= 1

    def _forget(self, transaction: Transaction) -> None:
        transaction.due = None
        self._settle(transaction)
        if isinstance(transaction, ClientTransaction):
            self._clients.pop(transaction.key, None)
        else:
            self._servers.pop(transaction.key, None)


def _takes(request: Request) -> bool:
    """Put nothing off, until somebody says what."""
    return False
