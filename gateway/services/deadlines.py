"""One timer for many waits of the same length: hold must cost next to nothing."""

from __future__ import annotations

import enum
from collections import deque
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")


class Late(enum.Enum):
    """Time was up first."""

    LATE = enum.auto()


LATE = Late.LATE


class Deadlines:
    """Waits for Deferreds, each for at most ``seconds``, on one delayed call.

    They end in the order of their beginnings: those are told apart by ``begin``, and a
    wait that goes on for something else keeps its place before younger ones.
    """

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._queue: deque[tuple[float, defer.Deferred[Any]]] = deque()
        self._call: IDelayedCall | None = None
        self._latest = float("-inf")

    def begin(self) -> float:
        """Give a moment to count from: now, and after every one given before."""
        self._latest = max(self._clock.seconds(), self._latest + 1e-6)
        return self._latest

    def first(self, d: defer.Deferred[T], since: float) -> defer.Deferred[T | Late]:
        """Fire with what ``d`` fires or fails with, or with LATE when time is up.

        The time counts from ``since``, which ``begin`` gave. In time ``d`` is used up;
        after LATE it goes on and keeps its result, for whoever adds callbacks to it
        then.
        """
        waiting: defer.Deferred[T | Late] = defer.Deferred()

        def fired(result: Any) -> Any:
            if waiting.called:
                return result
            waiting.callback(result)  # a failure given so runs the errbacks
            return None

        d.addBoth(fired)
        if not waiting.called:
            self._insert(since + self._seconds, waiting)
        return waiting

    def _insert(self, end: float, waiting: defer.Deferred[Any]) -> None:
        queue = self._queue
        place = len(queue)
        while place and queue[place - 1][0] > end:
            place -= 1  # rarely: most waits begin when they are made
        if place == len(queue):
            queue.append((end, waiting))
        else:
            queue.insert(place, (end, waiting))
        if self._call is None:
            self._schedule()
        elif place == 0:
            self._call.reset(max(end - self._clock.seconds(), 0.0))

    def _schedule(self) -> None:
        queue = self._queue
        while queue and queue[0][1].called:
            queue.popleft()
        if queue:
            wait = max(queue[0][0] - self._clock.seconds(), 0.0)
            self._call = self._clock.callLater(wait, self._expire)

    def _expire(self) -> None:
        self._call = None
        now = self._clock.seconds()
        queue = self._queue
        while queue and (queue[0][1].called or queue[0][0] <= now):
            waiting = queue.popleft()[1]
            if not waiting.called:
                waiting.callback(LATE)
        self._schedule()

    def stop(self) -> None:
        """End every wait as if its time were up."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        while self._queue:
            waiting = self._queue.popleft()[1]
            if not waiting.called:
                waiting.callback(LATE)
