"""The logger of the gateway: structured events, nothing made below the active level.

A message's history is one thing, the log another: message text, passwords, cookies and
whole session ids never come here.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger as _Logger
from twisted.logger import LogLevel

_level = LogLevel.info


def set_level(name: str) -> None:
    """Log from this level on: debug, info, warn, error or critical."""
    global _level
    _level = LogLevel.levelWithName(name)


class Logger(_Logger):
    """A ``twisted.logger.Logger`` that is silent below the level."""

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:
        """Pass an event on to the observers, unless it is below the level."""
        if level >= _level:
            super().emit(level, format, **kwargs)
