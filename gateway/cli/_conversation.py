"""A conversation by typed lines: texts, and the commands that open with a slash."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from twisted.protocols.basic import LineOnlyReceiver

from gateway.cli._display import Display
from gateway.errors import Malformed

_TIME: Final = "%H:%M:%S"


class Party(Protocol):
    """Who talks for the person at the keyboard: the handset, or the SIP user."""

    trace_command: str
    """``/xml`` or ``/sip``: it turns ``tracing`` on and off."""
    tracing: bool

    def type(self, to: str, text: str) -> None:
        """Send a text that was typed."""

    def address(self, text: str) -> str:
        """Give the address that was typed; raises Malformed for what is none."""

    def standing(self) -> str:
        """Say who one is, and how the line stands."""

    def leave(self) -> None:
        """End the conversation once everything typed was answered."""

    def abandon(self) -> None:
        """End it at once."""


class Conversation:
    """Acts on typed lines, and keeps whom one talks to and who has written."""

    def __init__(
        self,
        party: Party,
        display: Display,
        to: str = "",
        *,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.to = to
        self._party = party
        self._display = display
        self._now = now
        self._heard: dict[str, tuple[int, datetime]] = {}
        self._commands: dict[str, tuple[Callable[[str], None], str]] = {
            "/to": (self._address, "ADDRESS: to whom typed texts go"),
            "/who": (self._who, "whom you write to, who has written, and the line"),
            party.trace_command: (self._trace, "show, or no longer, what is exchanged"),
            "/help": (self._help, "these commands; `//text` sends a text `/text`"),
            "/quit": (self._quit, "leave (also Ctrl-D, the end of the input)"),
        }

    def typed(self, line: str) -> None:
        """Act on one line."""
        text = line.strip()
        if text.startswith("//"):
            self._say(text[1:])
        elif text.startswith("/"):
            self._command(text)
        elif text:
            self._say(text)

    def heard(self, sender: str) -> None:
        """Learn who has written; the first one to write is written to."""
        count, _ = self._heard.pop(sender, (0, None))
        # The latest comes last.
        self._heard[sender] = (count + 1, self._now())
        if not self.to:
            self._write_to(sender)

    def leave(self) -> None:
        """Leave, once everything typed was answered."""
        self._party.leave()

    def abandon(self) -> None:
        """Leave at once."""
        self._party.abandon()

    def _say(self, text: str) -> None:
        if not self.to:
            self._display.fault("to whom? /to ADDRESS tells")
            return
        self._display.said(self.to, text)
        self._party.type(self.to, text)

    def _command(self, text: str) -> None:
        command, _, rest = text.partition(" ")
        if command in self._commands:
            self._commands[command][0](rest.strip())
        else:
            self._display.fault(f"no command {command}; /help lists them")

    def _address(self, text: str) -> None:
        if not text:
            to = f"you write to {self.to}" if self.to else "you write to nobody yet"
            self._display.tell(f"{to}; /to ADDRESS changes it")
            return
        try:
            self._write_to(self._party.address(text))
        except Malformed as error:
            self._display.fault(f"{text} is no address: {error}")

    def _write_to(self, address: str) -> None:
        self.to = address
        self._display.addressed(address)

    def _who(self, rest: str) -> None:
        tell = self._display.tell
        tell(self._party.standing())
        tell(f"you write to {self.to or 'nobody yet: /to ADDRESS'}")
        for sender, (count, last) in reversed(self._heard.items()):
            texts = "1 text" if count == 1 else f"{count} texts"
            tell(f"{sender} has written {texts}, last at {last.strftime(_TIME)}")
        if not self._heard:
            tell("nobody has written yet")

    def _trace(self, rest: str) -> None:
        self._party.tracing = not self._party.tracing
        state = "on" if self._party.tracing else "off"
        self._display.tell(f"{self._party.trace_command} is {state}")

    def _help(self, rest: str) -> None:
        for command, (_, what) in self._commands.items():
            self._display.tell(f"{command:6} {what}")

    def _quit(self, rest: str) -> None:
        self.leave()


class Keyboard(LineOnlyReceiver):
    """Lines from standard input where no terminal is."""

    delimiter = b"\n"

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def lineReceived(self, line: bytes) -> None:
        """Take one line."""
        self._conversation.typed(line.decode("utf-8", "replace"))

    def lineLengthExceeded(self, line: bytes) -> None:
        """Take no line that is longer than a text may be."""

    def connectionLost(self, reason: object = None) -> None:
        """Leave at the end of the input."""
        self._conversation.leave()
