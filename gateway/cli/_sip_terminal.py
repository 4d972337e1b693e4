"""A SIP terminal that registers and holds conversations in MESSAGE requests.

RFC 3261 8 and 10 (requests, registration), 22 with RFC 7616 (Digest), RFC 3428
(MESSAGE). It stands on the gateway's transaction layer and knows no socket.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.cli._display import Display
from gateway.cli._errand import Backoff, Errand, Pause
from gateway.cli._sip_line import Line
from gateway.cli._trace import sip_document
from gateway.errors import Malformed, Unreachable
from gateway.sip import digest
from gateway.sip.headers import Headers
from gateway.sip.model import Request, Response
from gateway.sip.transaction import (
    ClientTransaction,
    Hop,
    RequestReceived,
    ResponseReceived,
    TimedOut,
    TransactionLayer,
    TransportFailed,
)
from gateway.sip.uri import NameAddr, Uri

ALLOW: Final = "MESSAGE, OPTIONS"
_EXPIRES: Final = 600
_MOST_CHALLENGES: Final = 3
# Refusals below 500 that waiting may cure: Request Timeout, Temporarily Unavailable.
_PASSING: Final = frozenset({408, 480})
_KEPT_NONCES: Final = 16
# What the challenge of each status is called, and its answer.
_CHALLENGES: Final = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}
_BLANK_LINE: Final = re.compile(r"\r?\n\r?\n")


class SipTerminal:
    """One SIP user on one line.

    ``token`` gives short unguessable text. The line is opened by ``connect``, or set
    by `attach` before anything else is called. In a conversation (not in an errand) it
    outlasts a core that is away: it registers again, over a new line where that was
    lost.
    """

    trace_command = "/sip"

    def __init__(
        self,
        *,
        aor: str,
        user: str,
        password: str,
        clock: IReactorTime,
        token: Callable[[], str],
        connect: Callable[[], Coroutine[Any, Any, Line]] | None = None,
        display: Display | None = None,
    ) -> None:
        self.display = display or Display()
        self.errand = Errand(self.say, display=self.display)
        self.tracing = False
        # What `abandon` ends: the conversation, then the de-registration.
        self.waiting: Deferred[Any] | None = None
        self._aor = aor
        self._user = user
        self._password = password
        self._clock = clock
        self._token = token
        self._connect = connect
        self._pause = Pause(clock)
        self._layer = TransactionLayer(token=token, via=self._sent_by)
        self._line: Line | None = None
        self._timer: IDelayedCall | None = None
        self._waiting: dict[ClientTransaction, Deferred[Response]] = {}
        self._registration = (token(), token())
        self._registered = False
        self._cseq = 0
        self._nonce_counts: dict[str, int] = {}
        self._leaving = False
        self._away = ""
        self._attempts = Backoff()

    def attach(self, line: Line) -> None:
        """Take the line that was opened."""
        self._line = line

    # -- what the person wants ---------------------------------------------------

    def type(self, to: str, text: str) -> None:
        """Send a text that was typed."""
        self.errand.say(to, text)
        self._pause.wake()

    def address(self, text: str) -> str:
        """Give the URI of an address; raises Malformed where it names no SIP user."""
        uri = NameAddr.parse(text).uri
        if uri.scheme not in ("sip", "sips", "tel"):
            raise Malformed("it is neither sip:USER@DOMAIN nor tel:NUMBER")
        return str(uri)

    def standing(self) -> str:
        """Say who one is, and how the line stands."""
        if self._away:
            return f"you are {self._aor}; the core is away: {self._away}"
        if self._line is None or not self._registered:
            return f"you are {self._aor}; registering"
        return f"you are {self._aor}, registered as {self._contact(self._line)}"

    def leave(self) -> None:
        """End the conversation once everything typed was answered."""
        self._leaving = True
        self._pause.wake()

    def abandon(self) -> None:
        """End at once, without waiting for any answer."""
        self._leaving = True
        if self.waiting is not None:
            self.waiting.cancel()

    # -- conversation ------------------------------------------------------------

    async def converse(self, registered: Callable[[], None]) -> int:
        """Register and talk until the errand ends or the user leaves.

        ``registered`` is called once the registration stands. Gives the exit status;
        raises Unreachable and Malformed when the core does not answer or refuses.
        """
        granted = await self._bind()
        self.display.tell(f"registered {self._aor} for {granted} s")
        registered()
        while not (self.errand.ended or (self._leaving and not self.errand.busy)):
            due = self._clock.seconds() + granted / 2
            await self._pause.until(due)
            lapsed = self._clock.seconds() >= due or not self._registered
            if lapsed and not self.errand.ended:
                granted = await self._bind()
        if self.errand.failure:
            self.display.fault(self.errand.failure)
            return 1
        return 0

    async def _bind(self) -> int:
        """Register, over a new line where there is none; give the seconds granted.

        In a conversation it is tried until it succeeds, or is refused for good.
        """
        while True:
            try:
                if self._line is None and self._connect is not None:
                    self.attach(await self._connect())
                granted = await self.register(_EXPIRES)
            except Unreachable as error:
                await self._wait_for_core(error)
                continue
            if self._away:
                self._away = ""
                self._attempts.reset()
                self.display.tell("the core is back")
            self.display.stands("")
            self.errand.begin()
            return granted

    async def _wait_for_core(self, error: Unreachable) -> None:
        """Wait before the next attempt, or for a typed text; an errand gives up."""
        if not self.errand.interactive or self._leaving or error.permanent:
            raise error
        self.errand.hold()
        if self._away != str(error):
            self._away = str(error)
            self.display.fault(f"the core is away: {error}; what you type is kept")
            self.display.stands("away")
        await self._pause.until(self._clock.seconds() + self._attempts.next())

    async def hang_up(self) -> None:
        """Take the registration away, where there is a line to say so on."""
        if self._line is not None and self._registered:
            await self.register(0)

    def say(self, to: str, text: str) -> str:
        """Send a text; the errand is told of the outcome under the name returned."""
        name = self._token()

        async def sending() -> None:
            try:
                outcome = await self._send_text(to, text, name)
            except Malformed as error:
                outcome = str(error)
            except Unreachable as error:
                # Sent again it might come twice; but whether the core is there at all
                # is asked at once.
                outcome = str(error)
                self._registered = False
            self.errand.settled(name, outcome)
            self._pause.wake()

        # Begun on the next turn, when the errand knows the name.
        self._clock.callLater(0, lambda: Deferred.fromCoroutine(sending()))
        return name

    async def register(self, expires: int) -> int:
        """Bind our address for so many seconds, or none at 0; give those granted.

        Raises Unreachable when it is refused, a permanent one where waiting is no cure.
        """
        domain = Uri.parse(self._aor).host
        call_id, tag = self._registration
        headers = self._headers(self._aor, call_id, tag)
        headers.set("Contact", f"<{self._contact(self._up())}>")
        headers.set("Expires", str(expires))
        request = Request(method="REGISTER", uri=f"sip:{domain}", headers=headers)
        response = await self._request(request)
        if response.status != 200:
            lasting = response.status < 500 and response.status not in _PASSING
            raise Unreachable(
                f"registration refused, {response.status} {response.reason}",
                permanent=lasting,
            )
        self._registered = True
        return _granted(response, expires)

    async def _send_text(self, to: str, text: str, name: str) -> str:
        """Send a MESSAGE; give why it was not taken, empty when it was."""
        uri = NameAddr.parse(to).uri
        headers = self._headers(str(uri), name, self._token())
        headers.set("Content-Type", "text/plain;charset=UTF-8")
        request = Request(
            method="MESSAGE", uri=str(uri), headers=headers, body=text.encode()
        )
        response = await self._request(request)
        if 200 <= response.status < 300:
            return ""
        return f"refused, {response.status} {response.reason}"

    # -- requests of ours --------------------------------------------------------

    def _headers(self, to: str, call_id: str, tag: str) -> Headers:
        return Headers.of(
            [
                ("Max-Forwards", "70"),
                ("From", f"<{self._aor}>;tag={tag}"),
                ("To", f"<{to}>"),
                ("Call-ID", call_id),
            ]
        )

    async def _request(self, request: Request) -> Response:
        """Send a request, meet the challenges, give the final response."""
        for _ in range(_MOST_CHALLENGES):
            self._cseq += 1
            request.headers.set("CSeq", f"{self._cseq} {request.method}")
            response = await self._transact(request)
            if response.status not in _CHALLENGES:
                return response
            if not self._answer_challenge(request, response):
                return response
        return response

    def _answer_challenge(self, request: Request, response: Response) -> bool:
        """Put the credentials for a 401 or 407 into the request; tell if it could."""
        asks, answers = _CHALLENGES[response.status]
        challenge = digest.choose(response.headers.all(asks))
        if challenge is None:
            return False
        count = self._nonce_counts.get(challenge.nonce, 0) + 1
        if len(self._nonce_counts) > _KEPT_NONCES:
            self._nonce_counts.clear()
        self._nonce_counts[challenge.nonce] = count
        request.headers.set(
            answers,
            digest.authorization(
                challenge,
                method=request.method,
                uri=request.uri,
                username=self._user,
                password=self._password,
                body=request.body,
                cnonce=self._token(),
                nc=count,
            ),
        )
        return True

    def _transact(self, request: Request) -> Deferred[Response]:
        """Send a request once; fires with its final response, else Unreachable."""
        answer: Deferred[Response] = Deferred()
        now = self._clock.seconds()
        transaction = self._layer.request(request, self._up().hop, now)
        self._waiting[transaction] = answer
        self._pump()
        return answer

    def _sent_by(self, hop: Hop) -> str:
        host, port = self._up().local
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _contact(self, line: Line) -> str:
        user = Uri.parse(self._aor).user or self._user
        return f"sip:{user}@{self._sent_by(line.hop)};transport={line.hop.transport}"

    def _up(self) -> Line:
        """Give the line; raises Unreachable when it is lost."""
        if self._line is None:
            raise Unreachable("the line is down")
        return self._line

    # -- the line ----------------------------------------------------------------

    def received(self, message: Request | Response, source: Hop) -> None:
        """Take a message from the line."""
        if self.tracing:
            self.display.trace(False, sip_document(message.encode()))
        self._layer.receive(message, source, self._clock.seconds())
        self._pump()

    def lost(self, reason: str) -> None:
        """Learn that the line is gone; an errand ends with it."""
        line, self._line = self._up(), None
        self._registered = False
        if self.errand.interactive:
            self.errand.hold()
        self._layer.transport_failed(line.hop, self._clock.seconds(), reason)
        self._pump()
        if not self.errand.interactive:
            self.errand.failure = self.errand.failure or f"the line is down: {reason}"
        self._pause.wake()

    def close(self) -> None:
        """Stop the clock of the transactions and close the line."""
        self._stop_timer()
        if self._line is not None:
            self._line.close()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _pump(self) -> None:
        """Send what waits, act on what happened, set the clock."""
        while (event := self._layer.next_event()) is not None:
            if isinstance(event, RequestReceived):
                self._asked(event)
            elif isinstance(event, ResponseReceived):
                if event.response.status >= 200:
                    self._settle(event.transaction, event.response)
            elif isinstance(event, TimedOut):
                if isinstance(event.transaction, ClientTransaction):
                    self._settle(event.transaction, Unreachable("no answer"))
            elif isinstance(event, TransportFailed):
                self._settle(event.transaction, Unreachable(event.reason))
        for _, data in self._layer.data_to_send():
            if self._line is None:
                continue
            if self.tracing:
                self.display.trace(True, sip_document(data))
            self._line.send(data)
        self._set_timer()

    def _settle(
        self, transaction: ClientTransaction, outcome: Response | Unreachable
    ) -> None:
        answer = self._waiting.pop(transaction, None)
        if answer is None:
            return
        if isinstance(outcome, Response):
            answer.callback(outcome)
        else:
            answer.errback(outcome)

    def _set_timer(self) -> None:
        self._stop_timer()
        due = self._layer.next_timer()
        if due is not None:
            rest = max(0.0, due - self._clock.seconds())
            self._timer = self._clock.callLater(rest, self._tick)

    def _tick(self) -> None:
        self._layer.handle_timer(self._clock.seconds())
        self._pump()

    # -- requests of others ------------------------------------------------------

    def _asked(self, event: RequestReceived) -> None:
        """Answer a request: texts are shown, what is unknown is refused."""
        request = event.request
        status = {"MESSAGE": 200, "OPTIONS": 200}.get(request.method, 405)
        text = None
        if request.method == "MESSAGE":
            try:
                text = _text(request)
            except Malformed:
                status = 400
            else:
                status = 415 if text is None else 200
        response = request.response(status, tag=self._token())
        if status == 405 or request.method == "OPTIONS":
            response.headers.set("Allow", ALLOW)
        if status == 415:
            response.headers.set("Accept", "text/plain, message/cpim")
        self._layer.respond(event.transaction, response, self._clock.seconds())
        if text is not None and status == 200:
            self.errand.arrived(_sender(request), text)
            self._pause.wake()


def _granted(response: Response, asked: int) -> int:
    """Read the seconds granted: the Contact's own, else Expires (RFC 3261 10.2.4)."""
    found = re.search(
        r";\s*expires\s*=\s*(\d+)", response.headers.get("Contact") or "", re.IGNORECASE
    )
    text = found[1] if found else response.headers.get("Expires") or str(asked)
    return max(1, int(text)) if text.isdigit() else asked


def _sender(request: Request) -> str:
    """Name who sent it: the asserted identity if there is one (RFC 3325), else From."""
    asserted = request.headers.values("P-Asserted-Identity")
    address = NameAddr.parse(asserted[0]) if asserted else request.from_
    return address.uri.aor


def _text(request: Request) -> str | None:
    """Give the text of a MESSAGE; of CPIM (RFC 3862) what it wraps. None: no text.

    Raises Malformed when its sender cannot be read.
    """
    _sender(request)
    body = request.body.decode("utf-8", "replace")
    media = request.content_type.partition(";")[0].strip().lower() or "text/plain"
    if media == "message/cpim":
        # Message headers, blank line, headers of the content, blank line, content.
        parts = _BLANK_LINE.split(body, maxsplit=2)
        return parts[2] if len(parts) == 3 else None
    return body if media.startswith("text/") else None
