"""Running a conversation on the reactor, for the commands that hold one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor, stdio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import react as twisted_react


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


def keyboard(protocol: IProtocol) -> None:
    """Connect a protocol to standard input."""
    stdio.StandardIO(protocol)
