"""``imps-gateway handset URL …``: a small IMPS handset for the terminal.

With ``--send`` or ``--expect`` it runs an errand and its exit status tells the outcome;
without, it shows what comes and sends what is typed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from gateway.cli._display import Display
from gateway.cli._errand import (
    LONGEST_WAIT,
    Backoff,
    Errand,
    Pause,
    add_options,
    password,
)
from gateway.cli._http import HttpLine, Posted
from gateway.cli._trace import csp_document
from gateway.csp.client import Account, Answered, Arrived, Client, Closed, Opened
from gateway.csp.common import PollingRequest
from gateway.csp.envelope import Message, Version
from gateway.csp.syntax import syntax_for
from gateway.errors import Malformed, Unreachable

SUMMARY = "an IMPS handset for the terminal, interactive or in one line"

VERSIONS: Final = {version.text: version for version in Version}
XML: Final = "application/vnd.wv.csp.xml"
_OK: Final = 200
_SERVER_FAULTS: Final = 500
# HTTP statuses below 500 that waiting may cure: Request Timeout, Too Many Requests.
_BUSY: Final = frozenset({408, 429})
# A login refused with these may be taken later: time-outs, faults, out of service.
_TRY_LATER: Final = frozenset({408, 500, 503, 504})
_TRIES: Final = 3
_LEAVE_SECONDS: Final = 3.0

Post = Callable[[str, bytes], Coroutine[Any, Any, Posted]]


class Handset:
    """A client on a line: posts what it has to say and acts on its events.

    In a conversation (not in an errand) it outlasts a gateway that is away, and a
    session that ends: what was typed and not answered goes out in the next one.
    """

    trace_command = "/xml"

    def __init__(
        self,
        client: Client,
        post: Post,
        clock: IReactorTime,
        *,
        media_type: str = XML,
        display: Display | None = None,
    ) -> None:
        self.client = client
        self.display = display or Display()
        self.errand = Errand(client.send_text, display=self.display)
        self.closed: Closed | None = None
        self.tracing = False
        # What `abandon` ends: the conversation, then the logout.
        self.waiting: Deferred[Any] | None = None
        self._post = post
        self._clock = clock
        self._pause = Pause(clock)
        self._syntax, _ = syntax_for(media_type)
        self._leaving = False
        self._away = ""
        self._opened_at: float | None = None
        self._attempts = Backoff()
        self._logins = Backoff()

    # -- what the person wants ---------------------------------------------------

    def type(self, to: str, text: str) -> None:
        """Send a text that was typed."""
        self.errand.say(to, text)
        self._pause.wake()

    def address(self, text: str) -> str:
        """Take any address: only the server can tell which it knows."""
        return text

    def standing(self) -> str:
        """Say who one is, and how the line stands."""
        me = f"you are {self.client.user_id} in CSP {self.client.version.text}"
        if self._away:
            return f"{me}; the gateway is away: {self._away}"
        if self._opened_at is None:
            return f"{me}; {self.client.state.value}"
        seconds = round(self._clock.seconds() - self._opened_at)
        return f"{me}; the session is open for {seconds} s"

    def leave(self) -> None:
        """Log out once everything typed was sent."""
        self._leaving = True
        self._pause.wake()

    def abandon(self) -> None:
        """End at once, without waiting for any answer."""
        self._leaving = True
        if self.waiting is not None:
            self.waiting.cancel()

    # -- the conversation --------------------------------------------------------

    async def converse(self) -> int:
        """Log in and talk until the errand ends or the user leaves.

        Gives the exit status. Raises Unreachable when the line stays down, or will not
        come up by waiting.
        """
        self.client.login()
        while True:
            try:
                await self._speak()
            except Unreachable as error:
                await self._wait_for_gateway(error)
                continue
            closed = self.closed
            if closed is not None and self._may_return(closed):
                await self._wait_for_login(closed)
            elif closed is not None or self.errand.ended or self._leaving:
                return self._outcome()
            else:
                await self._pause.until(self.client.next_timer())
                self.client.handle_timer(self._clock.seconds())

    async def hang_up(self) -> None:
        """Log out when there is a session, and wait for the answer."""
        if self.client.session_id is not None:
            self.client.failed()
            self.client.logout()
            await self._speak()

    async def _wait_for_gateway(self, error: Unreachable) -> None:
        """Wait before the next attempt, or for a typed text; an errand gives up."""
        if not self.errand.interactive or self._leaving or error.permanent:
            raise error
        self.client.failed()
        if self._away != str(error):
            self._away = str(error)
            self.display.fault(f"the gateway is away: {error}; what you type is kept")
            self.display.stands("away")
        await self._pause.until(self._clock.seconds() + self._attempts.next())

    def _may_return(self, closed: Closed) -> bool:
        """Whether another login is worth while."""
        if not self.errand.interactive or self._leaving:
            return False
        return not closed.refused or closed.code in _TRY_LATER

    async def _wait_for_login(self, closed: Closed) -> None:
        """Log in anew, not at once when the session was short or none."""
        self.closed = None
        self.errand.hold()
        why = f"{closed.code} {closed.description}".rstrip()
        if closed.refused:
            self.display.fault(f"no login at present: {why}; trying again")
        else:
            self.display.fault(f"the server ended the session: {why}; logging in anew")
        self.display.stands("logging in")
        now = self._clock.seconds()
        if self._opened_at is not None and now - self._opened_at >= LONGEST_WAIT:
            self._logins.reset()
        else:
            self._opened_at = None
            await self._pause.until(now + self._logins.next())
        self._opened_at = None
        self.client.login()

    async def _speak(self) -> None:
        """Post until the client has nothing more to say."""
        while (message := self.client.data_to_send()) is not None:
            reply = await self._exchange(message)
            self.client.receive(reply, self._clock.seconds())
            self._heed()

    async def _exchange(self, message: Message) -> Message | None:
        """Post one message, and again when the line broke; give the reply."""
        body = self._syntax.encode(message)
        for left in reversed(range(_TRIES)):
            try:
                content_type = self._syntax.content_type(message.version)
                posted = await self._post(content_type, body)
                break
            except Unreachable:
                if not left:
                    raise
        if posted.status != _OK:
            lasting = posted.status < _SERVER_FAULTS and posted.status not in _BUSY
            raise Unreachable(
                f"the server answers HTTP {posted.status}", permanent=lasting
            )
        if self._away:
            self._away = ""
            self._attempts.reset()
            self.display.tell("the gateway is back")
            self.display.stands("")
        self._trace(message, body, posted.body)
        if not posted.body:
            return None
        syntax, charset = syntax_for(posted.content_type)
        return syntax.decode(posted.body, charset)

    def _trace(self, message: Message, body: bytes, reply: bytes) -> None:
        """Show an exchange, if asked to; not a poll that brought nothing."""
        poll = isinstance(message.transactions[0].primitive, PollingRequest)
        if not self.tracing or (poll and not reply):
            return
        self.display.trace(True, csp_document(body))
        if reply:
            self.display.trace(False, csp_document(reply))

    def _heed(self) -> None:
        """Act on the events of the client."""
        while (event := self.client.next_event()) is not None:
            if isinstance(event, Opened):
                self._opened_at = self._clock.seconds()
                self.display.tell(f"logged in, session {event.session_id}")
                self.display.stands("")
                self.errand.begin()
            elif isinstance(event, Arrived):
                self.errand.arrived(event.sender, event.text)
            elif isinstance(event, Answered):
                taken = event.code == _OK
                why = f"refused, {event.code} {event.description}".rstrip()
                self.errand.settled(event.transaction_id, "" if taken else why)
            elif isinstance(event, Closed):
                self.closed = event
            else:
                self.display.tell(f"notified: {event.primitive.NAME}")

    def _outcome(self) -> int:
        """Say why it ended, and whether that is what was wanted."""
        closed = self.closed
        if self.errand.failure:
            self.display.fault(self.errand.failure)
        elif closed is not None and not self.errand.done:
            why = f"{closed.code} {closed.description}".rstrip()
            what = "the login was refused" if closed.refused else "the server ended it"
            self.display.fault(f"{what}: {why}")
        elif self._leaving or self.errand.done:
            return 0
        return 1


async def _call(handset: Handset, clock: IReactorTime, limit: float | None) -> int:
    """Talk within the time, and hang up whatever happened."""
    fault = handset.display.fault
    handset.waiting = talk = Deferred.fromCoroutine(handset.converse())
    if limit is not None:
        talk.addTimeout(limit, clock)
    try:
        status = await talk
    except DeferredTimeout:
        fault(f"timed out, waiting for {handset.errand.remaining()}")
        status = 1
    except CancelledError:
        fault("left without waiting for an answer")
        return 1
    except (Unreachable, Malformed) as error:
        fault(f"the line is down: {error}")
        if handset.errand.interactive:
            for what in handset.errand.unsent():
                fault(f"not sent: {what}")
        return 1
    bye = Deferred.fromCoroutine(handset.hang_up()).addTimeout(_LEAVE_SECONDS, clock)
    handset.waiting = bye
    try:
        await bye
    except (DeferredTimeout, CancelledError, Unreachable, Malformed):
        fault("no answer to the logout")
    return status


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text} is not http://HOST/PATH")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imps-gateway handset", description=SUMMARY, allow_abbrev=False
    )
    parser.add_argument(
        "url", metavar="URL", type=_url, help="such as http://127.0.0.1:8080/csp"
    )
    parser.add_argument("--user", required=True, help="such as wv:alice@example.com")
    parser.add_argument("--to", default="", help="to whom texts go")
    parser.add_argument(
        "--send",
        metavar="TEXT",
        action="append",
        default=[],
        help="send TEXT (may be repeated)",
    )
    add_options(parser)
    parser.add_argument(
        "--csp", choices=sorted(VERSIONS), default="1.2", help="the CSP version"
    )
    parser.add_argument(
        "--two-step", action="store_true", help="log in with the password itself"
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="certificate to trust, in PEM"
    )
    return parser


def run(arguments: list[str]) -> int:
    """Run the handset; 0 when the errand was done or the user left."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.send and not options.to:
        parser.error("--send needs --to")
    secret = password(options.password)
    if secret is None:
        parser.error("--password is needed where no terminal can be asked")
    account = Account(
        user_id=options.user,
        password=secret,
        schemas=() if options.two_step else ("SHA", "MD5"),
    )
    # The reactor is chosen here and nowhere earlier.
    from gateway.cli._reactor import display, react, seat

    interactive = not (options.send or options.expect)

    async def main(reactor: Any, shown: Display) -> int:
        line = HttpLine(reactor, options.url, options.ca)
        client = Client(account, version=VERSIONS[options.csp], poll_interval=1.0)
        handset = Handset(client, line.post, reactor, display=shown)
        handset.errand.sends = [(options.to, text) for text in options.send]
        handset.errand.expects = options.expect
        handset.errand.reply = options.reply
        if interactive:
            seat(handset, handset.errand, shown, options.to)
        status = await _call(handset, reactor, None if interactive else options.timeout)
        await line.close()
        await shown.finish()
        return status

    with display(interactive) as shown:
        return react(lambda reactor: main(reactor, shown))
