"""What the terminal handset and its SIP twin share: an errand, options, pauses.

An errand is the one-line form: texts to send, texts to expect, a text to reply with;
it is done when every text was taken and every expected one has come.
"""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.cli._display import Display

TIMEOUT: Final = 60.0
"""Seconds that an errand may take, unless ``--timeout`` says otherwise."""
LONGEST_WAIT: Final = 30.0
"""Seconds between two attempts to reach the other side, at the most."""


@dataclass(slots=True)
class Errand:
    """Texts still expected and sendings still unanswered; ``send`` sends one text.

    ``send`` takes address and text and returns a name for the sending, which `settled`
    gets with its outcome. Without texts to send or expect there is no errand: the
    conversation is interactive and never done by itself. ``heard`` is called with the
    sender of each text that came.
    """

    send: Callable[[str, str], str]
    sends: Sequence[tuple[str, str]] = ()
    expects: Sequence[str] = ()
    reply: str | None = None
    display: Display = field(default_factory=Display)
    heard: Callable[[str], None] = lambda sender: None
    failure: str = ""
    _missing: list[str] | None = None
    _open: dict[str, tuple[str, str]] = field(default_factory=dict)
    _early: list[tuple[str, str]] = field(default_factory=list)
    _up: bool = False

    @property
    def interactive(self) -> bool:
        """Whether there is nothing to be done by itself."""
        return not self.sends and not self.expects

    @property
    def done(self) -> bool:
        """Whether everything was sent, taken and received."""
        begun = self._missing is not None
        return begun and not (self.interactive or self._missing or self.busy)

    @property
    def busy(self) -> bool:
        """Whether something was said of which the outcome is not known."""
        return bool(self._open or self._early)

    @property
    def ended(self) -> bool:
        """Whether it is done or can never be."""
        return self.done or bool(self.failure)

    def begin(self) -> None:
        """Send what is to be sent; once, however often the line came up."""
        if self._up:
            return
        self._up = True
        early, self._early = self._early, []
        if self._missing is None:
            self._missing = list(self.expects)
            early = [*self.sends, *early]
        for address, text in early:
            self.say(address, text)

    def hold(self) -> None:
        """Keep what is unanswered until `begin`: the line it went out on is gone."""
        self._up = False
        self._early = [*self._open.values(), *self._early]
        self._open.clear()

    def say(self, address: str, text: str) -> None:
        """Send one text, as soon as the line is up."""
        if self._up:
            self._open[self.send(address, text)] = (address, text)
        else:
            self._early.append((address, text))

    def settled(self, name: str, outcome: str = "") -> None:
        """Learn that a sending was taken, or with ``outcome`` why it was not."""
        what = self._open.pop(name, None)
        if what is None or not outcome:
            return
        line = f"{_sending(what)}: {outcome}"
        if self.interactive:
            self.display.fault(line)
        else:
            self.failure = self.failure or line

    def arrived(self, sender: str, text: str) -> None:
        """Show a text that came, tick it off, and reply when told to."""
        self.display.arrived(sender, text)
        self.heard(sender)
        missing = self._missing or []
        met = next((wanted for wanted in missing if wanted in text), None)
        if met is not None:
            missing.remove(met)
        if self.reply is not None and (met is not None or not self.expects):
            self.say(sender, self.reply)

    def unsent(self) -> list[str]:
        """Name what was said and not answered."""
        return [_sending(what) for what in [*self._open.values(), *self._early]]

    def remaining(self) -> str:
        """Say what is still waited for."""
        waiting = [f"an answer to {_sending(what)}" for what in self._open.values()]
        waiting += [f"the text {text!r}" for text in self._missing or []]
        return ", ".join(waiting) or "the line to come up"


def _sending(what: tuple[str, str]) -> str:
    address, text = what
    return f"{text!r} to {address}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands have."""
    parser.add_argument(
        "--password", help="- reads a line of input; without it, a terminal is asked"
    )
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


def password(option: str | None, descriptor: int = 0) -> str | None:
    """Give the password of ``--password``; a ``-`` takes a line of standard input.

    A person at a terminal is asked, without an echo, also where the option is missing;
    None says that nobody can be asked.
    """
    if option not in (None, "-"):
        return option
    if os.isatty(descriptor):
        return getpass.getpass()
    if option is None:
        return None
    # Byte by byte: what follows the line belongs to the conversation.
    line = bytearray()
    while (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode().rstrip("\r")


class Backoff:
    """The seconds before the next attempt: 1, 2, 4 … 30, and 1 again once it worked."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds = 0.0

    def next(self) -> float:
        """Give the seconds to wait now."""
        self._seconds = min(2 * self._seconds or 1.0, LONGEST_WAIT)
        return self._seconds

    def reset(self) -> None:
        """Learn that it worked."""
        self._seconds = 0.0


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
