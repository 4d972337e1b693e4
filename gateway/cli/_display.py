"""Where a conversation is shown: plain lines, or a terminal above the line being typed.

Texts come from others, so nothing in them may steer a terminal: control characters are
shown, not obeyed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Final

# C0 and C1 controls, the line and paragraph separators, and what turns the direction
# of the writing (it would let a text show itself as another).
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def printable(text: str) -> str:
    r"""Write a text in one line: a line break as ``\n``, other controls by number."""
    return _UNPRINTABLE.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] == "\n":
        return "\\n"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def colourful(terminal: bool, environment: Mapping[str, str]) -> bool:
    """Tell whether colours are wanted: a terminal is there, and no ``NO_COLOR``."""
    return (
        terminal
        and not environment.get("NO_COLOR")
        and environment.get("TERM") != "dumb"
    )


class Display:
    """Plain lines: what arrives on standard output, all else on standard error."""

    def arrived(self, sender: str, text: str) -> None:
        """Show a text that came."""
        print(f"{printable(sender)}: {printable(text)}", flush=True)

    def said(self, to: str, text: str) -> None:
        """Show a text of our own; plain lines have it already, where it was typed."""

    def tell(self, line: str) -> None:
        """Say something about the conversation, beside it."""
        print(printable(line), file=sys.stderr, flush=True)

    def fault(self, line: str) -> None:
        """Say what went wrong."""
        self.tell(line)

    def trace(self, sent: bool, document: str) -> None:
        """Show a document that was sent or received."""
        mark = ">" if sent else "<"
        for line in document.splitlines():
            print(f"{mark} {printable(line)}", file=sys.stderr, flush=True)

    def addressed(self, to: str) -> None:
        """Learn to whom typed texts go."""

    def stands(self, state: str) -> None:
        """Learn how the line stands where it is not up: ``away``; empty when it is."""

    async def finish(self) -> None:
        """Show nothing more, once all is shown."""
