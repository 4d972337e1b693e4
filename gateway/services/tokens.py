"""Identifiers: unguessable where they grant something, merely unique elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_FAIR = 256 - 256 % len(_ALPHABET)
_LETTER = bytes(_ALPHABET[b % len(_ALPHABET)] for b in range(256))
_UNFAIR = bytes(range(_FAIR, 256))
LENGTH = 22
"""Characters of a SessionID, MessageID, nonce or poll cookie: 131 random bits."""


class RandomTokens:
    """Tokens of 22 characters of [A-Za-z0-9] from the system's random source.

    Random bytes are fetched by the block; bytes that would favour some letters are
    thrown away.
    """

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        self._source = source
        self._stock = ""

    def __call__(self) -> str:
        """Give a fresh token."""
        while len(self._stock) < LENGTH:
            self._stock += self._source(4096).translate(_LETTER, _UNFAIR).decode()
        token, self._stock = self._stock[:LENGTH], self._stock[LENGTH:]
        return token


class CountedTokens:
    """Tokens that are unique, not secret: a random prefix and a counter."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0

    def __call__(self) -> str:
        """Give a fresh token."""
        self._count += 1
        return f"{self._prefix}{self._count:x}"
