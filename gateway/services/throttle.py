"""Slowing down who tries passwords: failures counted by account and by address.

A key that has failed too often within a minute is refused at once until the minute is
over, without looking at the password. The table is bounded: the oldest keys give way.
"""

from __future__ import annotations

from collections import OrderedDict

WINDOW = 60.0
KEYS = 65_536


class Throttle:
    """Counts failures by key within a window of a minute."""

    def __init__(self, most: int, keys: int = KEYS) -> None:
        self._most = most
        self._keys = keys
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def wait(self, key: str, now: float) -> int:
        """Give the seconds that a key has to wait; 0: it may try."""
        since, count = self._failures.get(key, (0.0, 0))
        if count < self._most or now - since >= WINDOW:
            return 0
        return int(WINDOW - (now - since)) + 1

    def failed(self, key: str, now: float) -> None:
        """Count a failure."""
        since, count = self._failures.pop(key, (now, 0))
        if now - since >= WINDOW:
            since, count = now, 0
        self._failures[key] = (since, count + 1)
        while len(self._failures) > self._keys:
            self._failures.popitem(last=False)

    def passed(self, key: str) -> None:
        """Forget a key that has shown the right password."""
        self._failures.pop(key, None)
