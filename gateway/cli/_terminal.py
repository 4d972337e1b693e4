"""A conversation on a terminal: one row is typed in, all else appears above it."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from gateway.cli._conversation import Conversation
from gateway.cli._display import Display, printable
from gateway.cli._editor import Key, LineEditor, cells

# Select Graphic Rendition (ECMA-48 8.3.117), in colours that read on dark and light.
_SGR: Final = {
    "time": "2",
    "sender": "1;36",
    "own": "1;32",
    "fault": "31",
    "tell": "33",
    "sent": "34",
    "received": "35",
    "prompt": "1",
}
_ERASE: Final = "\r\x1b[J"
_LEAST_ROOM: Final = 8


class Terminal(Protocol, Display):
    """The person's terminal: shows the conversation, and takes its keys.

    ``columns`` counts the cells of a row; ``suspend`` stops the process until it is
    continued.
    """

    def __init__(
        self,
        *,
        columns: Callable[[], int],
        colours: bool,
        suspend: Callable[[], None],
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.conversation: Conversation
        self._columns = columns
        self._colours = colours
        self._suspend = suspend
        self._now = now
        self._editor = LineEditor()
        self._to = ""
        self._state = ""
        self._leaving = False
        self._open = False
        self._finished: Deferred[None] | None = None

    # -- what is shown -----------------------------------------------------------

    def arrived(self, sender: str, text: str) -> None:
        """Show a text that came."""
        self._say("sender", sender, text)

    def said(self, to: str, text: str) -> None:
        """Show a text of our own."""
        self._say("own", f"→ {to}", text)

    def tell(self, line: str) -> None:
        """Say something about the conversation."""
        self._above([f"{self._time()} {self._styled('tell', printable(line))}"])

    def fault(self, line: str) -> None:
        """Say what went wrong."""
        self._above([f"{self._time()} {self._styled('fault', printable(line))}"])

    def trace(self, sent: bool, document: str) -> None:
        """Show a document that was sent or received."""
        mark, style = ("⇒", "sent") if sent else ("⇐", "received")
        lines = [f"{mark} {printable(line)}" for line in document.splitlines()]
        self._above([self._styled(style, line) for line in lines])

    def addressed(self, to: str) -> None:
        """Show to whom typed texts go."""
        self._to = to
        self._above([])

    def stands(self, state: str) -> None:
        """Show how the line stands where it is not up."""
        self._state = state
        self._above([])

    def redraw(self) -> None:
        """Draw the row anew, as when the terminal has another size."""
        self._above([])

    def _say(self, style: str, who: str, text: str) -> None:
        first, *further = text.replace("\r\n", "\n").split("\n")
        head = f"{self._time()} {self._styled(style, printable(who) + ':')} "
        indent = " " * 9
        self._above(
            [head + printable(first)] + [indent + printable(line) for line in further]
        )

    def _time(self) -> str:
        return self._styled("time", self._now().strftime("%H:%M:%S"))

    def _styled(self, style: str, text: str) -> str:
        return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if self._colours else text

    def _above(self, lines: list[str]) -> None:
        """Write lines above the row that is typed in, and the row anew."""
        if not self._open:
            return
        above = "".join(f"{line}\r\n" for line in lines)
        self._write(_ERASE + above + self._row())

    def _row(self) -> str:
        """Draw prompt and line, and put the cursor in its place."""
        # The last column is left free: there terminals differ in where the cursor is.
        columns = self._columns() - 1
        prompt = f"{self._state and f'({self._state}) '}{printable(self._to)}> "
        if columns - cells(prompt) < _LEAST_ROOM:
            prompt = "> "
        room = max(_LEAST_ROOM, columns - cells(prompt))
        text, cursor = self._editor.row(room)
        place = cells(prompt) + cursor
        return f"{self._styled('prompt', prompt)}{text}\r\x1b[{place}C"

    def _write(self, text: str) -> None:
        assert self.transport is not None
        self.transport.write(text.encode("utf-8", "replace"))

    # -- what is typed -----------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin with an empty row."""
        self._open = True
        self._to = self.conversation.to
        self._above([])

    def dataReceived(self, data: bytes) -> None:
        """Take keys."""
        for typed in self._editor.feed(data):
            if isinstance(typed, str):
                self.conversation.typed(typed)
            else:
                self._pressed(typed)
        self._above([])

    def connectionLost(self, reason: object = None) -> None:
        """Leave when the terminal is gone: nobody is there to say more."""
        finished, self._finished = self._finished, None
        if finished is not None:
            finished.callback(None)
        elif self._open:
            self._open = False
            self.conversation.abandon()

    async def finish(self) -> None:
        """Leave no row that could be typed in, once all is written."""
        if not self._open:
            return
        self._write(_ERASE)
        self._open = False
        finished: Deferred[None] = Deferred()
        self._finished = finished
        assert self.transport is not None
        self.transport.loseConnection()
        await finished

    def _pressed(self, key: Key) -> None:
        if key is Key.REDRAW:
            self._write("\x1b[H\x1b[2J")
        elif key is Key.SUSPEND:
            self._write(_ERASE)
            self._suspend()
        elif self._leaving:
            self.conversation.abandon()
        else:
            self._leaving = True
            self.conversation.leave()


@contextmanager
def raw(descriptor: int = 0) -> Iterator[Callable[[], None]]:
    """Take a terminal's keys one by one while it lasts; gives what suspends it.

    Output goes on to be processed by the terminal. Raises termios.error where
    ``descriptor`` is none.
    """
    before = termios.tcgetattr(descriptor)
    blocking = os.get_blocking(descriptor)

    def take() -> None:
        keys: list[Any] = termios.tcgetattr(descriptor)
        keys[0] &= ~(termios.IXON | termios.ICRNL)
        keys[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, keys)

    def give() -> None:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        os.set_blocking(descriptor, blocking)

    def suspend() -> None:
        give()
        os.kill(os.getpid(), signal.SIGTSTP)
        # Continued: the shell may have changed what it left us.
        take()
        os.set_blocking(descriptor, False)

    take()
    try:
        yield suspend
    finally:
        give()
