"""Messages that were committed for their sender and still go to the core.

What a handset was told is ours comes here: after ``hold``, or because earlier messages
to the same recipient are here already. Per sender and recipient one is in flight; a
failure that may pass is tried again until the message expires, and every message ends
in one state, which its sender hears when it is a failure (docs/semantics.md 1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.errors import Malformed, Unreachable
from gateway.identity import request_uri
from gateway.log import Logger
from gateway.services.account import Account
from gateway.services.ledger import TO_SIP, Ledger
from gateway.services.registration import Registrations
from gateway.services.ua import UserAgent
from gateway.sip.message import NameAddr, Request, Response
from gateway.store import FinalState, Store, StoredMessage
from gateway.translation import status
from gateway.translation.messaging import Content, Outgoing, moment, to_sip

Here = Callable[[StoredMessage, Request], Coroutine[Any, Any, int | None]]
Report = Callable[[StoredMessage, int], Coroutine[Any, Any, None]]
Line = tuple[str, str]
"""Sender and recipient: what order is kept on."""
BACK_OFF = (2.0, 5.0, 10.0, 20.0, 30.0)
IN_FLIGHT = 64
REDIRECTS = 3
_MOVED = frozenset({301, 302})
_AWAY = frozenset({404, 480})
_PAGE = 100
_PASSING = frozenset({408, 430, 491, 500, 502, 503, 504})
"""Answers after which the same message may be taken another time."""


class Outbox:
    """The roads on which committed messages wait, one for each line."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        ua: UserAgent,
        registrations: Registrations,
        ledger: Ledger,
    ) -> None:
        self._clock = clock
        self._store = store
        self._ua = ua
        self._registrations = registrations
        self._ledger = ledger
        self._lines: dict[Line, deque[str]] = {}
        self._slots = defer.DeferredSemaphore(IN_FLIGHT)
        self._pauses: dict[IDelayedCall, defer.Deferred[None]] = {}
        self._stopped = False
        self.on_failed: Report = _unreported
        self.here: Here = _nobody

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, line: Line) -> bool:
        return line in self._lines

    async def start(self) -> None:
        """Take up what waited when the process before this one ended."""
        after: tuple[int, str] | None = None
        while page := await self._store.waiting_to_sip(after, _PAGE):
            for message in page:
                self._queue(message, None)
            after = (page[-1].accepted_at, page[-1].id)

    async def take(
        self, message: StoredMessage, work: defer.Deferred[Response] | None = None
    ) -> int:
        """Commit a message and go on with it; the CSP code for its sender: 200.

        ``work`` is the attempt that is in flight already. Raises Unreachable when it
        could not be committed; the sender is then told so.
        """
        line = (message.sender, message.recipient)
        queue = self._lines.setdefault(line, deque())  # who follows waits behind it
        try:
            await self._store.add_message(message)
            self._ledger.begun(message, "accepted")
        except Unreachable:
            if not queue and self._lines.get(line) is queue:
                del self._lines[line]
            if work is not None:
                work.addErrback(lambda failure: failure.trap(Unreachable))
            raise
        self._queue(message, work)
        return 200

    def _queue(
        self, message: StoredMessage, work: defer.Deferred[Response] | None
    ) -> None:
        line = (message.sender, message.recipient)
        queue = self._lines.setdefault(line, deque())
        idle = not queue
        queue.append(message.id)
        if idle:
            d = defer.ensureDeferred(self._drain(line, queue, work))
            d.addErrback(lambda f: self._log.failure("an outbox line stopped", f))
        elif work is not None:
            work.addErrback(lambda failure: failure.trap(Unreachable) and None)

    async def _drain(
        self,
        line: Line,
        queue: deque[str],
        work: defer.Deferred[Response] | None,
    ) -> None:
        """Bring the messages of one line to their ends, in order."""
        tries = 0
        while queue and not self._stopped:
            try:
                done = await self._one(queue[0], work)
            except Unreachable as error:
                self._log.warn("the outbox waits: {cause}", cause=str(error))
                done = False
            except Exception:
                # A defect of ours must not stop what waits behind this message.
                self._log.failure("a message cannot be sent", message_id=queue[0])
                done = await self._give_up(queue[0])
            if work is not None:  # whatever it still brings is of no use now
                work.addErrback(lambda failure: failure.trap(Unreachable) and None)
                work = None
            if done:
                queue.popleft()
                tries = 0
            else:
                await self._pause(BACK_OFF[min(tries, len(BACK_OFF) - 1)])
                tries += 1
        if self._lines.get(line) is queue and not self._stopped:
            del self._lines[line]

    async def _one(
        self, message_id: str, work: defer.Deferred[Response] | None
    ) -> bool:
        """Try one message once; tell whether it has reached its end."""
        message = await self._store.message(message_id)
        if message is None or message.state is not None:
            return True
        if work is None and message.expires_at <= self._clock.seconds() * 1e6:
            await self._fail(message, "expired", "", 542)
            return True
        try:
            if work is None:
                work = self._slots.run(self.attempt, message)
            response = await work
        except Unreachable as error:
            self._log.debug("not sent yet: {cause}", cause=str(error))
            self._ledger.noted(message.id, "tried", TO_SIP, reason=str(error))
            return False
        reason = f"SIP {response.status}"
        if response.status < 300:
            await self._ledger.finish(message.id, TO_SIP, "delivered", reason)
            return True
        if response.status in _PASSING:
            self._ledger.noted(message.id, "tried", TO_SIP, reason=reason)
            return False
        code = status.to_csp(response.status, "MESSAGE")
        await self._fail(message, "failed", reason, code)
        return True

    async def _give_up(self, message_id: str) -> bool:
        """End a message that we cannot send; False when even that is impossible now."""
        try:
            message = await self._store.message(message_id)
            if message is not None and message.state is None:
                await self._fail(message, "failed", "defect", 500)
        except Unreachable:
            return False
        return True

    async def _fail(
        self, message: StoredMessage, state: FinalState, reason: str, code: int
    ) -> None:
        """End a message that does not arrive: its sender's report is committed first.

        A crash in between repeats the report under the same id. Raises Unreachable.
        """
        await self.on_failed(message, code)
        await self._ledger.finish(message.id, TO_SIP, state, reason)

    def attempt(self, message: StoredMessage) -> defer.Deferred[Response]:
        """Send one MESSAGE; its ids are kept with it, whenever it is sent.

        Redirections are followed, through the core (RFC 3261 8.1.3.4). Fails with
        Unreachable when the core gives no answer.
        """
        if self._stopped:
            return defer.fail(Unreachable("the service stops"))
        account = self._registrations.known(message.sender)
        if account is not None:
            d = self._ua.request(_request(message), account)
            return d.addCallback(self._answered, message, account)
        return defer.Deferred.fromCoroutine(self._attempt(message))

    async def _attempt(self, message: StoredMessage) -> Response:
        account = await self._registrations.account(message.sender)
        response = await self._ua.request(_request(message), account)
        return await self._further(response, message, account)

    def _answered(
        self, response: Response, message: StoredMessage, account: Account
    ) -> Response | defer.Deferred[Response]:
        if response.status not in _MOVED and response.status not in _AWAY:
            return response
        work = self._further(response, message, account)
        return defer.Deferred.fromCoroutine(work)

    async def _further(
        self, response: Response, message: StoredMessage, account: Account
    ) -> Response:
        """Go where a redirection points, then to our own door.

        A core that has nobody for a subscriber of ours does not always ask us: what
        comes from a trusted peer it need not send back to it.
        """
        response = await self._redirected(response, message, account)
        if response.status in _AWAY:
            status = await self.here(message, _request(message))
            if status is not None:
                return Response(status=status)
        return response

    async def _redirected(
        self, response: Response, message: StoredMessage, account: Account
    ) -> Response:
        tried = {message.recipient}
        while len(tried) <= REDIRECTS and (target := _target(response)) is not None:
            if target in tried:
                break
            tried.add(target)
            request = _request(message)
            request.uri = target
            response = await self._ua.request(request, account)
        return response

    # -- time --------------------------------------------------------------------

    async def _pause(self, seconds: float) -> None:
        over: defer.Deferred[None] = defer.Deferred()

        def wake() -> None:
            del self._pauses[call]
            over.callback(None)

        call = self._clock.callLater(seconds, wake)
        self._pauses[call] = over
        await over

    def stop(self) -> None:
        """Stop trying; what waits is in the store for the next start."""
        self._stopped = True
        pauses, self._pauses = self._pauses, {}
        for call, over in pauses.items():
            call.cancel()
            over.callback(None)


async def _nobody(message: StoredMessage, request: Request) -> int | None:
    """Stand in until the node has said who is served here."""
    return None


async def _unreported(message: StoredMessage, code: int) -> None:
    """Stand in until the node has said who reports failures."""


def _target(response: Response) -> str | None:
    """Give where a 301 or 302 points to, None for any other answer."""
    if response.status not in _MOVED:
        return None
    try:
        contacts = [
            NameAddr.parse(value).uri for value in response.headers.values("Contact")
        ]
    except Malformed:
        return None
    for uri in contacts:
        if uri.scheme in ("sip", "sips") and uri.user is not None:
            port = "" if uri.port is None else f":{uri.port}"
            return f"{uri.scheme}:{uri.user}@{uri.host}{port}"
    return None


def _request(message: StoredMessage) -> Request:
    headers = message.headers
    validity = headers.get("validity")
    return to_sip(
        Outgoing(
            sender=message.sender,
            recipient=request_uri(message.recipient),
            content=Content(message.content_type, message.content),
            call_id=message.id,
            tag=message.id[:12],
            validity=None if validity is None else int(validity),
            sent_at=moment(message.sent_at) if "dated" in headers else None,
        )
    )
