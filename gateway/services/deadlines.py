"""One timer for many waits of the same length: hold must cost next to nothing."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")


class Deadlines:
    """Waits for Deferreds, each for at most ``seconds``, on one delayed call.

    Waits begin in the order in which they end, so a queue is enough.
    """

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._queue: deque[tuple[float, defer.Deferred[bool]]] = deque()
        self._call: IDelayedCall | None = None

    def reached(self, d: defer.Deferred[T], since: float) -> defer.Deferred[bool]:
        """Fire with False once ``d`` has fired, with True if time was up before.

        The time counts from ``since``. ``d`` keeps its result or failure and is neither
        cancelled nor changed.
        """
        waiting: defer.Deferred[bool] = defer.Deferred()
        if d.called and not d.paused:
            waiting.callback(False)
            return waiting

        def fired(result: Any) -> Any:
            if not waiting.called:
                waiting.callback(False)
            return result

        d.addBoth(fired)
        self._queue.append((since + self._seconds, waiting))
        if self._call is None:
            self._schedule()
        return waiting

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
                waiting.callback(True)
        self._schedule()

    def stop(self) -> None:
        """End every wait as if its time were up."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        while self._queue:
            waiting = self._queue.popleft()[1]
            if not waiting.called:
                waiting.callback(True)
