"""What the terminal handset and its SIP twin share: an errand, options, the keyboard.

An errand is the one-line form: texts to send, texts to expect, a text to reply with;
it is done when every text was taken and every expected one has come.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.protocols.basic import LineOnlyReceiver

TIMEOUT: Final = 60.0
"""Seconds that an errand may take, unless ``--timeout`` says otherwise."""


@dataclass(slots=True)
class Errand:
    """Texts still expected and sendings still unanswered; ``send`` sends one text.

    ``send`` takes address and text and returns a name for the sending, which `settled`
    gets with its outcome. Without texts to send or expect there is no errand: the
    conversation is interactive and never done by itself.
    """

    send: Callable[[str, str], str]
    sends: Sequence[tuple[str, str]] = ()
    expects: Sequence[str] = ()
    reply: str | None = None
    failure: str = ""
    _missing: list[str] = field(default_factory=list)
    _open: dict[str, str] = field(default_factory=dict)
    _early: list[tuple[str, str]] = field(default_factory=list)
    _begun: bool = False

    @property
    def interactive(self) -> bool:
        """Whether there is nothing to be done by itself."""
        return not self.sends and not self.expects

    @property
    def done(self) -> bool:
        """Whether everything was sent, taken and received."""
        return self._begun and not (self.interactive or self._missing or self._open)

    @property
    def busy(self) -> bool:
        """Whether something was said of which the outcome is not known."""
        return bool(self._open or self._early)

    @property
    def ended(self) -> bool:
        """Whether it is done or can never be."""
        return self.done or bool(self.failure)

    def begin(self) -> None:
        """Send what is to be sent; only once, however often the line came up."""
        if self._begun:
            return
        self._begun = True
        self._missing = list(self.expects)
        early, self._early = self._early, []
        for address, text in [*self.sends, *early]:
            self.say(address, text)

    def say(self, address: str, text: str) -> None:
        """Send one text, as soon as the line is up."""
        if self._begun:
            self._open[self.send(address, text)] = f"{text!r} to {address}"
        else:
            self._early.append((address, text))

    def settled(self, name: str, outcome: str = "") -> None:
        """Learn that a sending was taken, or with ``outcome`` why it was not."""
        what = self._open.pop(name, None)
        if what is None or not outcome:
            return
        if self.interactive:
            tell(f"{what}: {outcome}")
        else:
            self.failure = self.failure or f"{what}: {outcome}"

    def arrived(self, sender: str, text: str) -> None:
        """Show a text that came, tick it off, and reply when told to."""
        print(f"{sender}: {text}", flush=True)
        met = next((wanted for wanted in self._missing if wanted in text), None)
        if met is not None:
            self._missing.remove(met)
        if self.reply is not None and (met is not None or not self.expects):
            self.say(sender, self.reply)

    def remaining(self) -> str:
        """Say what is still waited for."""
        waiting = [f"an answer to {what}" for what in self._open.values()]
        waiting += [f"the text {text!r}" for text in self._missing]
        return ", ".join(waiting) or "the line to come up"


def tell(line: str) -> None:
    """Say something about the conversation, beside it: on standard error."""
    print(line, file=sys.stderr, flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands have."""
    parser.add_argument("--password", required=True, help="- reads a line of input")
    parser.add_argument(
        "--expect",
        metavar="TEXT",
        action="append",
        default=[],
        help="wait for a message that contains TEXT (may be repeated)",
    )
    parser.add_argument("--reply", metavar="TEXT", help="answer what was expected")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=TIMEOUT,
        help="the most that --send and --expect may take (default: %(default)g)",
    )


def password(option: str, descriptor: int = 0) -> str:
    """Give the password of ``--password``; a ``-`` takes a line of standard input.

    A person at a terminal is asked, without an echo.
    """
    if option != "-":
        return option
    if os.isatty(descriptor):
        return getpass.getpass()
    # Byte by byte: what follows the line belongs to the conversation.
    line = bytearray()
    while (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode().rstrip("\r")


class Pause:
    """Waiting that something may end: `wake`, or the time."""

    __slots__ = ("_clock", "_waiting", "_woken")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: Deferred[None] | None = None
        self._woken = False

    def wake(self) -> None:
        """End the waiting, or the next one if nobody waits now."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            self._woken = True
        else:
            waiting.callback(None)

    async def until(self, time: float | None) -> None:
        """Wait until that time of the clock, or for `wake` alone with None."""
        if self._woken:
            self._woken = False
            return
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        timer: IDelayedCall | None = None
        if time is not None:
            rest = max(0.0, time - self._clock.seconds())
            timer = self._clock.callLater(rest, self.wake)
        try:
            await waiting
        finally:
            self._waiting = None
            if timer is not None and timer.active():
                timer.cancel()


class Keyboard(LineOnlyReceiver):
    """Lines typed by a person: text for the one addressed, or ``/to`` and ``/quit``."""

    delimiter = b"\n"

    def __init__(
        self, to: str, say: Callable[[str, str], None], leave: Callable[[], None]
    ) -> None:
        self._to = to
        self._say = say
        self._leave = leave

    def lineReceived(self, line: bytes) -> None:
        """Take one line."""
        text = line.decode("utf-8", "replace").strip()
        command, _, rest = text.partition(" ")
        if command == "/quit":
            self._leave()
        elif command == "/to":
            self._to = rest.strip()
        elif text and self._to:
            self._say(self._to, text)
        elif text:
            tell("to whom? /to ADDRESS tells")

    def connectionLost(self, reason: object = None) -> None:
        """Leave at the end of the input."""
        self._leave()
