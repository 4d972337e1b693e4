"""The SIP user agent: transactions as awaitables, and the road to the core.

It drives the sans-I/O transaction layer with the clock and the links, remembers which
core addresses failed, and answers Digest challenges. What requests mean is decided
elsewhere: ``take`` is called with each one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from gateway.errors import Malformed, Unreachable
from gateway.igateway import ILink, IUserAgent
from gateway.log import Complaints, Logger
from gateway.services.account import CHALLENGES, Account
from gateway.sip.message import Request, Response
from gateway.sip.transaction import (
    ClientTransaction,
    Event,
    Hop,
    RequestReceived,
    ResponseReceived,
    ServerTransaction,
    TimedOut,
    TransactionLayer,
    TransportFailed,
)

DATAGRAM_LIMIT = 1300
"""Bytes above which a request goes by TCP (RFC 3261 18.1.1)."""
LOOPBACK_LIMIT = 32_000
"""The same where the path MTU is known to be 65536."""
SURELY_SMALL = 400
"""Bytes of a body with which no request of ours comes near the limit."""
DATAGRAM_MOST = 65_000
"""Bytes that no datagram can carry."""
_VIA = 120
_NOWHERE = Hop("udp", "", 0)


class NoAnswer(Unreachable):
    """The hop took the request and gave no final answer in time (Timer F)."""


Progress = Callable[[Response], None]
Take = Callable[[ServerTransaction, Request, Hop], None]


@dataclass(slots=True)
class _Asking:
    """A request to the core on its way from one address to the next."""

    request: Request
    account: Account
    hops: Iterator[Hop]
    hop: Hop = _NOWHERE
    challenges: int = 4  # of two challengers, each with a stale nonce before
    answered: dict[int, str] = field(default_factory=dict)
    learnt: dict[int, str] = field(default_factory=dict)

    def may_answer(self, response: Response) -> bool:
        """Learn a challenge; tell whether it is worth an answer.

        It is not when the secret is wrong: a nonce made for this very request was
        answered, and the new challenge does not say that it was too old.
        """
        status = response.status
        if not self.challenges or not self.account.challenged(response, self.answered):
            return False
        self.challenges -= 1
        before = self.learnt.get(status)
        refused = before is not None and before == self.answered.get(status)
        challenge = self.account.newest(status)
        self.learnt[status] = challenge.nonce
        return challenge.stale or not refused


@implementer(IUserAgent)
class UserAgent:
    """One SIP element on all its links."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        token: Callable[[], str],
        *,
        cores: Sequence[Hop] = (),
        core_memory: float = 30.0,
        t1: float = 0.5,
    ) -> None:
        self._clock = clock
        self._token = token
        self._links: dict[str, ILink] = {}
        self._layer = TransactionLayer(token=token, via=self.sent_by, t1=t1)
        self.cores = tuple(cores)
        self._memory = core_memory
        self._t1 = t1
        self._failed: dict[Hop, float] = {}
        self._complaints = Complaints(self._log, clock)
        self._waiting: dict[ClientTransaction, defer.Deferred[Response]] = {}
        self._progress: dict[ClientTransaction, Progress] = {}
        self._timer: IDelayedCall | None = None
        self._running = False
        self._stopped = False
        self.take: Take = self._refuse
        self.on_recovered: Callable[[], None] | None = None

    # -- links -------------------------------------------------------------------

    def attach(self, transport: str, link: ILink) -> None:
        """Learn the link that sends for a transport."""
        self._links[transport] = link

    def set_cores(self, cores: Sequence[Hop]) -> None:
        """Learn the core's addresses, in order of preference."""
        self.cores = tuple(cores)

    def put_off(self, busy: Callable[[str], bool]) -> None:
        """Refuse new messages with 503 at once while ``busy`` says so."""
        self._layer.puts_off = lambda request: (
            request.method == "MESSAGE" and busy("sip")
        )

    def sent_by(self, hop: Hop) -> str:
        """Give the ``host:port`` under which a hop reaches us.

        Raises Unreachable without a listener for its transport.
        """
        link = self._links.get(hop.transport)
        if link is None:
            raise Unreachable(f"no listener for {hop.transport}", permanent=True)
        return link.sent_by(hop)

    def received(self, message: Request | Response, source: Hop) -> None:
        """Take one parsed message from a link."""
        try:
            self._layer.receive(message, source, self._clock.seconds())
        except Malformed as error:
            text = "SIP message from {host} dropped: {cause}"
            host = source.host
            self._complaints.about(host, text, host=host, cause=str(error))
        self._run()

    def refused(self, request: Request, source: Hop, status: int, reason: str) -> None:
        """Answer a request that was read only in part, without any state."""
        try:
            data = request.response(status, reason, tag=self._token()).encode()
        except (Malformed, ValueError):
            return
        self._send(source, data)

    def transport_failed(self, hop: Hop, reason: str) -> None:
        """Learn that nothing reaches that hop: its transactions end now."""
        self._layer.transport_failed(hop, self._clock.seconds(), reason)
        self._run()

    # -- requests of ours --------------------------------------------------------

    def send(
        self, request: Request, hop: Hop, progress: Progress | None = None
    ) -> defer.Deferred[Response]:
        """Send one request to one hop, over that very transport.

        Fires with the final response, or fails with Unreachable after Timer F
        (RFC 3261 17.1.2.2), a transport failure, or at the limit of transactions.
        """
        d: defer.Deferred[Response] = defer.Deferred()
        if self._stopped:
            d.errback(Unreachable("the service stops"))
            return d
        try:
            transaction = self._layer.request(request, hop, self._clock.seconds())
        except Unreachable as error:
            d.errback(error)
            return d
        if self._log.debugging:
            self._traced("{what} sent to {hop}", request.method, request, hop)
        self._waiting[transaction] = d
        if progress is not None:
            self._progress[transaction] = progress
        self._run()
        return d

    def deliver(
        self, request: Request, hop: Hop, progress: Progress | None = None
    ) -> defer.Deferred[Response]:
        """Send one request to one hop, over TCP where it is long for a datagram.

        A hop that takes no TCP gets the datagram after all (RFC 3261 18.1.1); what no
        datagram can carry is then answered 513 here. Fails as ``send`` does.
        """
        if hop.transport != "udp" or len(request.body) <= SURELY_SMALL:
            return self.send(request, hop, progress)
        limit = LOOPBACK_LIMIT if hop.host.startswith("127.") else DATAGRAM_LIMIT
        size = len(request.encode()) + _VIA
        if size <= limit or "tcp" not in self._links:
            return self._datagram(request, hop, size, progress)

        def unreached(failure: Any) -> Any:
            failure.trap(Unreachable)
            if failure.check(NoAnswer):
                return failure
            return self._datagram(request, hop, size, progress)

        d = self.send(request, hop._replace(transport="tcp"), progress)
        return d.addErrback(unreached)

    def _datagram(
        self, request: Request, hop: Hop, size: int, progress: Progress | None
    ) -> defer.Deferred[Response]:
        if size > DATAGRAM_MOST:
            return defer.succeed(request.response(513, tag=self._token()))
        return self.send(request, hop, progress)

    def request(self, request: Request, account: Account) -> defer.Deferred[Response]:
        """Send a request to the core for a user; fires with the final response.

        Challenges are answered, failed core addresses passed over. Fails with
        Unreachable when no address of the core answers.
        """
        if account.route:
            request.headers.set_all("Route", account.route)
        if request.method == "MESSAGE":
            # The number that it gets when it has to be challenged first. So a message
            # that is sent again after a crash, when no challenge is known any more, is
            # the same one to its recipient (Call-ID, CSeq, From tag).
            for _ in range(account.foreseen(request.method)):
                _next_cseq(request)
        asking = _Asking(request, account, iter(self._candidates()))
        return self._next_hop(asking, Unreachable("no address of the core is known"))

    def _next_hop(
        self, asking: _Asking, reason: Unreachable
    ) -> defer.Deferred[Response]:
        hop = next(asking.hops, None)
        if hop is None:
            return defer.fail(reason)
        asking.hop = hop
        return self._ask(asking)

    def _ask(self, asking: _Asking) -> defer.Deferred[Response]:
        """Send the request to its hop with every answer to a challenge known."""
        asking.answered = asking.account.authorize(asking.request, self._token)
        d = self.deliver(asking.request, asking.hop)
        return d.addCallbacks(
            self._answered, self._unanswered, (asking,), {}, (asking,)
        )

    def _answered(
        self, response: Response, asking: _Asking
    ) -> Response | defer.Deferred[Response]:
        """Pass a response on, but answer a challenge and leave an overloaded hop."""
        status = response.status
        if status in CHALLENGES:
            if asking.may_answer(response):
                _next_cseq(asking.request)
                return self._ask(asking)
        elif status == 503:
            self._fail(asking.hop, _retry_after(response, self._memory))
            following = self._next_hop(asking, Unreachable("the core answers 503"))
            return following.addErrback(lambda _: response)
        if self._failed and status != 503:
            self._recovered(asking.hop)
        return response

    def _unanswered(self, failure: Any, asking: _Asking) -> defer.Deferred[Response]:
        failure.trap(Unreachable)
        if self._stopped:
            return defer.fail(failure)
        self._fail(asking.hop, self._memory)
        return self._next_hop(asking, failure.value)

    def _recovered(self, hop: Hop) -> None:
        if self._failed.pop(hop, None) is not None:
            self._log.info("core {hop} answers again", hop=_shown(hop))
            if self.on_recovered is not None:
                self.on_recovered()

    def core_states(self) -> list[tuple[Hop, bool]]:
        """Give each core address and whether it is not passed over now."""
        now = self._clock.seconds()
        return [(hop, self._failed.get(hop, 0.0) <= now) for hop in self.cores]

    def counts(self) -> dict[str, int]:
        """Give how many SIP transactions there are, by kind."""
        return self._layer.counts()

    def _candidates(self) -> Sequence[Hop]:
        if not self._failed:
            return self.cores
        now = self._clock.seconds()
        good = [hop for hop in self.cores if self._failed.get(hop, 0.0) <= now]
        # With none left the one whose time is up first is tried all the same.
        return good or sorted(self.cores, key=lambda hop: self._failed[hop])

    def _fail(self, hop: Hop, seconds: float) -> None:
        if self._failed.get(hop, 0.0) <= self._clock.seconds():
            self._log.warn(
                "core {hop} does not answer; passed over for {seconds} s",
                hop=_shown(hop),
                seconds=int(seconds),
            )
        self._failed[hop] = self._clock.seconds() + seconds

    # -- requests of others ------------------------------------------------------

    def knows_invite(self, cancel: Request) -> bool:
        """Tell whether the INVITE that a CANCEL means is still known here."""
        return self._layer.find_invite(cancel) is not None

    def is_ours(self, request: Request) -> bool:
        """Tell whether a request is one that we have just sent ourselves.

        Its top Via has the branch of a transaction that waits for its answer.
        """
        return self._layer.awaits(request)

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        """Answer a request."""
        if self._log.debugging:
            hop = transaction.hop
            self._traced("{what} answered to {hop}", response.status, response, hop)
        self._layer.respond(transaction, response, self._clock.seconds())
        self._run()

    def answer(
        self,
        transaction: ServerTransaction,
        request: Request,
        status: int,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Answer a request with a bare status and some headers."""
        response = request.response(status, tag=self._token())
        for name, value in headers:
            response.headers.set(name, value)
        self.respond(transaction, response)

    def _refuse(
        self, transaction: ServerTransaction, request: Request, source: Hop
    ) -> None:
        self.answer(transaction, request, 503)

    # -- the engine --------------------------------------------------------------

    def _run(self) -> None:
        """Carry out what the layer wants until it wants nothing more."""
        if self._running:
            return  # the outer call goes on
        self._running = True
        try:
            while True:
                for hop, data in self._layer.data_to_send():
                    self._send(hop, data)
                event = self._layer.next_event()
                if event is None:
                    break
                self._happened(event)
        finally:
            self._running = False
        self._schedule()

    def _traced(
        self, text: str, what: object, message: Request | Response, hop: Hop
    ) -> None:
        """Log a step of a SIP transaction; asked for at level debug only."""
        text = "message={message} SIP " + text + ": call_id={call_id}"
        self._log.debug(text, what=what, hop=_shown(hop), call_id=message.call_id)

    def _happened(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            if self._log.debugging:
                status, hop = event.response.status, event.transaction.hop
                self._traced("{what} came from {hop}", status, event.response, hop)
            if event.response.status >= 200:
                d = self._done(event.transaction)
                if d is not None:
                    d.callback(event.response)
            elif (progress := self._progress.get(event.transaction)) is not None:
                progress(event.response)
        elif isinstance(event, RequestReceived):
            if self._log.debugging:
                method, hop = event.request.method, event.source
                self._traced("{what} came from {hop}", method, event.request, hop)
            try:
                self.take(event.transaction, event.request, event.source)
            except Exception:
                self._log.failure("a SIP request was not handled")
                self.answer(event.transaction, event.request, 500)
        elif isinstance(event, TimedOut):
            if not isinstance(event.transaction, ClientTransaction):
                return  # no ACK for an answer of ours: nobody waits for that
            d = self._done(event.transaction)
            if d is not None:
                d.errback(NoAnswer("no answer in time"))
        elif isinstance(event, TransportFailed):
            d = self._done(event.transaction)
            if d is not None:
                d.errback(Unreachable(event.reason))

    def _done(self, transaction: ClientTransaction) -> defer.Deferred[Response] | None:
        self._progress.pop(transaction, None)
        return self._waiting.pop(transaction, None)

    def _send(self, hop: Hop, data: bytes) -> None:
        link = self._links.get(hop.transport)
        if link is not None:
            link.send(hop, data)

    def _schedule(self) -> None:
        timer = self._timer
        # Nothing new is due before T1 is over: mostly there is no need to ask.
        if timer and timer.getTime() <= self._clock.seconds() + self._t1:
            return
        due = self._layer.next_timer()
        if due is None or self._stopped:
            return
        if self._timer is not None:
            if self._timer.getTime() <= due:
                return
            self._timer.cancel()
        wait = max(due - self._clock.seconds(), 0.0)
        self._timer = self._clock.callLater(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._layer.handle_timer(self._clock.seconds())
        self._run()

    def stop(self) -> None:
        """Cancel the timer and fail what still waits; nothing is sent from now on."""
        self._stopped = True
        self._complaints.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        self._progress.clear()
        for d in waiting.values():
            d.errback(Unreachable("the service stops"))


def _next_cseq(request: Request) -> None:
    number, _, method = (request.headers.get("CSeq") or "0 ").partition(" ")
    request.headers.set("CSeq", f"{int(number) + 1} {method}")


def _retry_after(response: Response, default: float) -> float:
    """Read Retry-After in seconds, at most five minutes (RFC 3261 20.33)."""
    value = (response.headers.get("Retry-After") or "").partition(";")[0]
    digits = value.partition("(")[0].strip()
    return min(float(digits), 300.0) if digits.isdecimal() else default


def _shown(hop: Hop) -> str:
    return f"{hop.transport}:{hop.host}:{hop.port}"
