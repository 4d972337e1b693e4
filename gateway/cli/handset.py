"""``imps-gateway handset URL …``: a small IMPS handset for the terminal.

With ``--send`` or ``--expect`` it runs an errand and its exit status tells the outcome;
without, it shows what comes and sends what is typed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from gateway.cli._errand import (
    Errand,
    Keyboard,
    Pause,
    add_options,
    password,
    tell,
)
from gateway.cli._http import HttpLine, Posted
from gateway.csp.client import Account, Answered, Arrived, Client, Closed, Opened
from gateway.csp.envelope import Message, Version
from gateway.csp.syntax import syntax_for
from gateway.errors import Malformed, Unreachable

SUMMARY = "an IMPS handset for the terminal, interactive or in one line"

VERSIONS: Final = {version.text: version for version in Version}
XML: Final = "application/vnd.wv.csp.xml"
_OK: Final = 200
_TRIES: Final = 3
_LEAVE_SECONDS: Final = 3.0

Post = Callable[[str, bytes], Coroutine[Any, Any, Posted]]


class Handset:
    """A client on a line: posts what it has to say and acts on its events."""

    def __init__(
        self,
        client: Client,
        post: Post,
        clock: IReactorTime,
        *,
        media_type: str = XML,
    ) -> None:
        self.client = client
        self.errand = Errand(client.send_text)
        self.closed: Closed | None = None
        self._post = post
        self._clock = clock
        self._pause = Pause(clock)
        self._syntax, _ = syntax_for(media_type)
        self._leaving = False

    def say(self, to: str, text: str) -> None:
        """Send a text that was typed."""
        self.errand.say(to, text)
        self._pause.wake()

    def leave(self) -> None:
        """Log out once everything typed was sent."""
        self._leaving = True
        self._pause.wake()

    async def converse(self) -> int:
        """Log in and talk until the errand ends or the user leaves.

        Gives the exit status. Raises Unreachable when the line stays down.
        """
        self.client.login()
        while True:
            await self._speak()
            if self.closed is not None or self.errand.ended or self._leaving:
                return self._outcome()
            await self._pause.until(self.client.next_timer())
            self.client.handle_timer(self._clock.seconds())

    async def hang_up(self) -> None:
        """Log out when there is a session, and wait for the answer."""
        if self.client.session_id is not None:
            self.client.failed()
            self.client.logout()
            await self._speak()

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
            raise Unreachable(f"the server answers HTTP {posted.status}")
        if not posted.body:
            return None
        syntax, charset = syntax_for(posted.content_type)
        return syntax.decode(posted.body, charset)

    def _heed(self) -> None:
        """Act on the events of the client."""
        while (event := self.client.next_event()) is not None:
            if isinstance(event, Opened):
                tell(f"logged in, session {event.session_id}")
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
                tell(f"notified: {event.primitive.NAME}")

    def _outcome(self) -> int:
        """Say why it ended, and whether that is what was wanted."""
        if self.errand.failure:
            tell(self.errand.failure)
        elif self.closed is not None and not self.errand.done:
            why = f"{self.closed.code} {self.closed.description}".rstrip()
            tell(f"the server ended it: {why}")
        elif self._leaving or self.errand.done:
            return 0
        return 1


async def _call(handset: Handset, clock: IReactorTime, limit: float | None) -> int:
    """Talk within the time, and hang up whatever happened."""
    talk = Deferred.fromCoroutine(handset.converse())
    if limit is not None:
        talk.addTimeout(limit, clock)
    try:
        status = await talk
    except DeferredTimeout:
        tell(f"timed out, waiting for {handset.errand.remaining()}")
        status = 1
    except (Unreachable, Malformed) as error:
        tell(f"the line is down: {error}")
        return 1
    bye = Deferred.fromCoroutine(handset.hang_up()).addTimeout(_LEAVE_SECONDS, clock)
    try:
        await bye
    except (DeferredTimeout, CancelledError, Unreachable, Malformed):
        tell("no answer to the logout")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imps-gateway handset", description=SUMMARY, allow_abbrev=False
    )
    parser.add_argument("url", metavar="URL", help="such as http://127.0.0.1:8080/csp")
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
    account = Account(
        user_id=options.user,
        password=password(options.password),
        schemas=() if options.two_step else ("SHA", "MD5"),
    )
    # The reactor is chosen here and nowhere earlier.
    from gateway.cli._reactor import keyboard, react

    async def main(reactor: Any) -> int:
        line = HttpLine(reactor, options.url, options.ca)
        client = Client(account, version=VERSIONS[options.csp], poll_interval=1.0)
        handset = Handset(client, line.post, reactor)
        handset.errand.sends = [(options.to, text) for text in options.send]
        handset.errand.expects = options.expect
        handset.errand.reply = options.reply
        interactive = handset.errand.interactive
        if interactive:
            keyboard(Keyboard(options.to, handset.say, handset.leave))
        status = await _call(handset, reactor, None if interactive else options.timeout)
        await line.close()
        return status

    return react(main)
