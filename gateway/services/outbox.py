"""Messages that were committed for their sender and still go to the core.

What a handset was told is ours comes here: after ``hold``, or because earlier messages
to the same recipient are here already. Per sender and recipient one is in flight; a
failure that may pass is tried again until the message expires, and every message ends
in one state, which its sender hears when it is a failure (docs/semantics.md 1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet import defer
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.errors import Unreachable
from gateway.identity import request_uri
from gateway.log import Logger
from gateway.services.registration import Registrations
from gateway.services.ua import UserAgent
from gateway.sip.message import Response
from gateway.store import Store, StoredMessage
from gateway.translation import status
from gateway.translation.messaging import Content, Outgoing, moment, to_sip

Line = tuple[str, str]
"""Sender and recipient: what order is kept on."""
BACK_OFF = (2.0, 5.0, 10.0, 20.0, 30.0)
IN_FLIGHT = 64
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
    ) -> None:
        self._clock = clock
        self._store = store
        self._ua = ua
        self._registrations = registrations
        self._lines: dict[Line, deque[str]] = {}
        self._slots = defer.DeferredSemaphore(IN_FLIGHT)
        self._pauses: dict[IDelayedCall, defer.Deferred[None]] = {}
        self._stopped = False
        self.on_failed: Callable[[StoredMessage, int], None] | None = None

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
            if await self._store.finish_message(message.id, "expired"):
                self._failed(message, 542)
            return True
        try:
            if work is None:
                work = self._slots.run(lambda: _started(self.attempt(message)))
            response = await work
        except Unreachable as error:
            self._log.info("not sent yet: {cause}", cause=str(error))
            return False
        if response.status < 300:
            await self._store.finish_message(message.id, "delivered", "next hop")
            return True
        if response.status in _PASSING:
            return False
        code = status.to_csp(response.status, "MESSAGE")
        reason = f"SIP {response.status}"
        if await self._store.finish_message(message.id, "failed", reason):
            self._failed(message, code)
        return True

    def _failed(self, message: StoredMessage, code: int) -> None:
        if self.on_failed is not None:
            self.on_failed(message, code)

    async def attempt(self, message: StoredMessage) -> Response:
        """Send one MESSAGE; its ids are kept with it, whenever it is sent.

        Raises Unreachable when the core gives no answer.
        """
        account = await self._registrations.account(message.sender)
        headers = message.headers
        validity = headers.get("validity")
        request = to_sip(
            Outgoing(
                sender=message.sender,
                recipient=request_uri(message.recipient),
                content=Content(message.content_type, message.content),
                call_id=headers["call_id"],
                tag=headers["tag"],
                validity=None if validity is None else int(validity),
                sent_at=moment(message.sent_at) if "dated" in headers else None,
            )
        )
        return await self._ua.request(request, account)

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


def _started(work: object) -> defer.Deferred[Response]:
    return defer.ensureDeferred(work)  # type: ignore[arg-type]
