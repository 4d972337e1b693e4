"""Running a conversation on the reactor, for the commands that hold one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from twisted.internet import reactor, stdio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import react as twisted_react

from gateway.cli._conversation import Conversation, Keyboard, Party
from gateway.cli._display import Display, colourful
from gateway.cli._errand import Errand
from gateway.cli._terminal import Terminal, raw

_COLUMNS: Final = 80


def react(main: Callable[[Any], Coroutine[Any, Any, int]]) -> int:
    """Run a coroutine on the reactor until it ends, and give its status."""
    status: list[int] = []

    def started(clock: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(main(clock)).addCallback(status.append)

    try:
        twisted_react(started, (), reactor)
    except SystemExit as ending:
        # An interrupt ends the reactor before there is a status.
        return status[0] if status else int(ending.code or 1)


@contextmanager
def display(interactive: bool) -> Iterator[Display]:
    """Give where to show a conversation: the terminal, if there is one to type on."""
    typed_on = os.isatty(0) and os.isatty(1) and os.environ.get("TERM") != "dumb"
    if not (interactive and typed_on):
        yield Display()
        return
    with raw() as suspend:
        terminal = Terminal(
            columns=lambda: os.get_terminal_size(1).columns or _COLUMNS,
            colours=colourful(True, os.environ),
            suspend=suspend,
        )
        running: Any = reactor
        before = signal.signal(
            signal.SIGWINCH, lambda *_: running.callFromThread(terminal.redraw)
        )
        try:
            yield terminal
        finally:
            signal.signal(signal.SIGWINCH, before)


def seat(party: Party, errand: Errand, shown: Display, to: str) -> None:
    """Begin to take what the person types, on the terminal or on standard input."""
    conversation = Conversation(party, shown, to)
    errand.heard = conversation.heard
    keyboard: IProtocol
    if isinstance(shown, Terminal):
        shown.conversation = conversation
        keyboard = shown
    else:
        keyboard = Keyboard(conversation)
    stdio.StandardIO(keyboard)
