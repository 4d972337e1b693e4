"""The SIP user agent: transactions as awaitables, and the road to the core.

It drives the sans-I/O transaction layer with the clock and the links, remembers which
core addresses failed, and answers Digest challenges. What requests mean is decided
elsewhere: ``take`` is called with each one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet import defer
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from gateway.errors import Malformed, Unreachable
from gateway.igateway import ILink, IUserAgent
from gateway.log import Logger
from gateway.sip import digest
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
_VIA = 120
_CHALLENGES = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
_ANSWERS = {401: "Authorization", 407: "Proxy-Authorization"}

Progress = Callable[[Response], None]
Take = Callable[[ServerTransaction, Request, Hop], None]


@dataclass(slots=True)
class Account:
    """What a user needs towards the core: credentials and the road it gave him."""

    aor: str
    user: str = ""
    password: str = field(default="", repr=False)
    route: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    _known: dict[int, digest.Challenge] = field(default_factory=dict, repr=False)
    _count: int = 0

    def authorize(self, request: Request, cnonce: str) -> None:
        """Add the answers to the challenges met before, with the next nonce count."""
        for status, challenge in self._known.items():
            self._count += 1
            request.headers.set(
                _ANSWERS[status],
                digest.authorization(
                    challenge,
                    method=request.method,
                    uri=request.uri,
                    username=self.user,
                    password=self.password,
                    body=request.body,
                    cnonce=cnonce,
                    nc=self._count,
                ),
            )

    def challenged(self, response: Response) -> bool:
        """Learn the challenge of a 401 or 407; False when it cannot be answered."""
        offered = response.headers.values(_CHALLENGES[response.status])
        challenge = digest.choose(offered)
        if challenge is None or not self.user:
            return False
        known = self._known.get(response.status)
        if known is not None and known.nonce == challenge.nonce:
            return False  # the very nonce that was just answered: refused
        self._known[response.status] = challenge
        self._count = 0
        return True


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
        self._failed: dict[Hop, float] = {}
        self._waiting: dict[ClientTransaction, defer.Deferred[Response]] = {}
        self._progress: dict[ClientTransaction, Progress] = {}
        self._timer: IDelayedCall | None = None
        self._running = False
        self.take: Take = self._refuse

    # -- links -------------------------------------------------------------------

    def attach(self, transport: str, link: ILink) -> None:
        """Learn the link that sends for a transport."""
        self._links[transport] = link

    def set_cores(self, cores: Sequence[Hop]) -> None:
        """Learn the core's addresses, in order of preference."""
        self.cores = tuple(cores)

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
            self._log.warn(
                "SIP message from {host} dropped: {cause}",
                host=source.host,
                cause=str(error),
            )
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
        """Send one request to one hop.

        Fires with the final response, or fails with Unreachable after Timer F
        (RFC 3261 17.1.2.2), a transport failure, or at the limit of transactions.
        """
        if hop.transport == "udp" and len(request.body) > SURELY_SMALL:
            limit = LOOPBACK_LIMIT if hop.host.startswith("127.") else DATAGRAM_LIMIT
            if "tcp" in self._links and len(request.encode()) + _VIA > limit:
                hop = hop._replace(transport="tcp")
        d: defer.Deferred[Response] = defer.Deferred()
        try:
            transaction = self._layer.request(request, hop, self._clock.seconds())
        except Unreachable as error:
            d.errback(error)
            return d
        self._waiting[transaction] = d
        if progress is not None:
            self._progress[transaction] = progress
        self._run()
        return d

    async def request(self, request: Request, account: Account) -> Response:
        """Send a request to the core for a user; give the final response.

        Challenges are answered, failed core addresses passed over. Raises Unreachable
        when no address of the core answers.
        """
        for route in account.route:
            request.headers.add("Route", route)
        reason = Unreachable("no address of the core is configured")
        for hop in self._candidates():
            try:
                response = await self._authorized(request, hop, account)
            except Unreachable as error:
                self._fail(hop, self._memory)
                reason = error
                continue
            if response.status == 503:
                self._fail(hop, _retry_after(response, self._memory))
                reason = Unreachable("the core answers 503")
                reason.__context__ = None
                if len(self.cores) > 1:
                    continue
            elif hop in self._failed:
                del self._failed[hop]
                self._log.info("core {hop} answers again", hop=_shown(hop))
            return response
        raise reason

    async def _authorized(
        self, request: Request, hop: Hop, account: Account
    ) -> Response:
        for _ in range(3):  # as given, with an answer, with an answer to a new nonce
            account.authorize(request, self._token())
            response = await self.send(request, hop)
            if response.status not in _CHALLENGES or not account.challenged(response):
                return response
            _next_cseq(request)
        return response

    def _candidates(self) -> list[Hop]:
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

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        """Answer a request."""
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

    def _happened(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            if event.response.status >= 200:
                d = self._done(event.transaction)
                if d is not None:
                    d.callback(event.response)
            elif (progress := self._progress.get(event.transaction)) is not None:
                progress(event.response)
        elif isinstance(event, RequestReceived):
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
                d.errback(Unreachable("no answer in time"))
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
        due = self._layer.next_timer()
        if due is None:
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
        """Cancel the timer and fail what still waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
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
