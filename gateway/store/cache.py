"""Subscribers kept in memory for a moment, so that not each message asks the database.

A change by another process (the command line) is noticed by the revision, which is read
only while somebody asks, and rarely enough to cost nothing: for as long a change may go
unnoticed, less than the next command takes to start. While the database is away, what
is known goes on to serve.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable

from gateway.errors import Unreachable
from gateway.store import Subscriber

FRESH = 0.2
"""Seconds for which what is known is believed."""
_MOST = 20_000


class SubscriberCache:
    """``revision`` reads the number that each change raises; ``seconds`` is a clock."""

    def __init__(
        self,
        revision: Callable[[], Awaitable[int]],
        seconds: Callable[[], float],
        most: int = _MOST,
    ) -> None:
        self._revision = revision
        self._seconds = seconds
        self._most = most
        self._known: dict[Hashable, Subscriber | None] = {}
        self._seen: int | None = None
        self._generation = 0
        self._checked = float("-inf")

    def __len__(self) -> int:
        return len(self._known)

    def clear(self) -> None:
        """Forget all; what is being loaded right now will not be kept either."""
        self._known.clear()
        self._generation += 1

    async def get(
        self, key: Hashable, load: Callable[[], Awaitable[Subscriber | None]]
    ) -> Subscriber | None:
        """Return what is known by that key, or load it; raises what ``load`` raises."""
        now = self._seconds()
        if now - self._checked >= FRESH:
            self._checked = now
            await self._check()
        if key in self._known:
            return self._known[key]
        generation = self._generation
        found = await load()
        if generation == self._generation:
            if len(self._known) >= self._most:
                # Rare, and filled again at once by those who are active.
                self._known.clear()
            self._known[key] = found
        return found

    async def _check(self) -> None:
        try:
            revision = await self._revision()
        except Unreachable:
            return
        if revision != self._seen:
            self._seen = revision
            self.clear()
