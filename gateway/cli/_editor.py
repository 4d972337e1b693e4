"""A line editor without a terminal: keys come as bytes, rows of cells go out.

Keys are those of ECMA-48 terminals (xterm, VT220, Linux console) and of Emacs. One row
is kept: a line longer than the row scrolls in it, so that nothing above is disturbed.
"""

from __future__ import annotations

import codecs
import enum
import re
import unicodedata
from collections.abc import Callable
from typing import Final

_HISTORY: Final = 500
_JOINER: Final = "\u200d"
# The whole of a key's sequence: CSI with parameters, SS3, or Alt and a character.
_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[(?P<csi>\[.|[0-?]*[ -/]*[@-~])|O(?P<ss3>.)|(?P<alt>[^\[O]))", re.DOTALL
)
_UNFINISHED: Final = re.compile(r"\x1b(?:\[\[|\[[0-?]*[ -/]*|O)?\Z")


class Key(enum.Enum):
    """What was typed besides a line."""

    INTERRUPT = "Ctrl-C"
    END = "Ctrl-D on an empty line"
    SUSPEND = "Ctrl-Z"
    REDRAW = "Ctrl-L"


def cells(text: str) -> int:
    """Count the cells that a text takes on a terminal."""
    return sum(map(_width, text))


def _width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class LineEditor:
    """The line being typed, with its cursor and the lines before it."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._history: list[str] = []
        self._place = 0
        self._draft = ""
        self._killed = ""
        self._results: list[str | Key] = []
        self._controls = self._control_keys()
        self._sequences = self._cursor_keys()
        self._alternates: dict[str, Callable[[], None]] = {
            "b": self._word_left,
            "f": self._word_right,
            "\x7f": self._kill_word,
        }

    def feed(self, data: bytes) -> list[str | Key]:
        """Take bytes of the keyboard; give the lines and keys that they complete."""
        self._pending += self._decoder.decode(data)
        while self._pending and not _UNFINISHED.match(self._pending):
            found = _SEQUENCE.match(self._pending)
            if found is not None:
                self._pending = self._pending[found.end() :]
                self._act_on(found)
            elif self._pending[0] == "\x1b":
                # No key that is known: without its escape it is not typed text either.
                self._pending = self._pending[2:]
            else:
                char, self._pending = self._pending[0], self._pending[1:]
                self._type(char)
        results, self._results = self._results, []
        return results

    def row(self, room: int) -> tuple[str, int]:
        """Give what of the line is seen in so many cells, and the cell of the cursor.

        A line that does not fit is seen around its cursor, which always has a cell.
        """
        start, before = self.cursor, 0
        while start > 0:
            place = self._before(start)
            before += cells(self.text[place:start])
            if before > room - 1:
                before -= cells(self.text[place:start])
                break
            start = place
        end, used = self.cursor, before
        while end < len(self.text):
            place = self._after(end)
            used += cells(self.text[end:place])
            if used > room:
                break
            end = place
        return self.text[start:end], before

    # -- what keys do ------------------------------------------------------------

    def _control_keys(self) -> dict[str, Callable[[], None]]:
        return {
            "\r": self._enter,
            "\n": self._enter,
            "\x7f": self._backspace,
            "\x08": self._backspace,
            "\x01": self._home,
            "\x02": self._left,
            "\x03": self._interrupt,
            "\x04": self._end_of_input,
            "\x05": self._end,
            "\x06": self._right,
            "\x0b": self._kill_rest,
            "\x0c": lambda: self._results.append(Key.REDRAW),
            "\x0e": self._later,
            "\x10": self._earlier,
            "\x15": self._kill_start,
            "\x17": self._kill_word,
            "\x19": lambda: self._insert(self._killed),
            "\x1a": lambda: self._results.append(Key.SUSPEND),
        }

    def _cursor_keys(self) -> dict[str, Callable[[], None]]:
        return {
            "A": self._earlier,
            "B": self._later,
            "C": self._right,
            "D": self._left,
            "H": self._home,
            "F": self._end,
            "1~": self._home,
            "7~": self._home,
            "4~": self._end,
            "8~": self._end,
            "3~": self._delete,
            "1;5C": self._word_right,
            "1;5D": self._word_left,
            "1;3C": self._word_right,
            "1;3D": self._word_left,
        }

    def _act_on(self, found: re.Match[str]) -> None:
        if found["alt"] is not None:
            action = self._alternates.get(found["alt"])
        else:
            action = self._sequences.get(found["csi"] or found["ss3"])
        if action is not None:
            action()

    def _type(self, char: str) -> None:
        action = self._controls.get(char)
        if action is not None:
            action()
        elif char >= " " and not "\x7f" <= char <= "\x9f":
            self._insert(char)

    def _insert(self, text: str) -> None:
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def _set(self, text: str) -> None:
        self.text = text
        self.cursor = len(text)

    def _enter(self) -> None:
        line = self.text
        if line.strip() and self._history[-1:] != [line]:
            self._history.append(line)
            del self._history[:-_HISTORY]
        self._place = len(self._history)
        self._set("")
        self._results.append(line)

    def _interrupt(self) -> None:
        """Give the line up; on an empty one, tell."""
        if self.text:
            self._place = len(self._history)
            self._set("")
        else:
            self._results.append(Key.INTERRUPT)

    def _end_of_input(self) -> None:
        if self.text:
            self._delete()
        else:
            self._results.append(Key.END)

    def _earlier(self) -> None:
        if self._place == 0:
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._place -= 1
        self._set(self._history[self._place])

    def _later(self) -> None:
        if self._place == len(self._history):
            return
        self._place += 1
        last = self._place == len(self._history)
        self._set(self._draft if last else self._history[self._place])

    # -- moving ------------------------------------------------------------------

    def _after(self, place: int) -> int:
        """Give the place after the character there and all that is joined to it."""
        place += 1
        while place < len(self.text) and (
            _width(self.text[place]) == 0 or self.text[place - 1] == _JOINER
        ):
            place += 1
        return min(place, len(self.text))

    def _before(self, place: int) -> int:
        place -= 1
        while place > 0 and (
            _width(self.text[place]) == 0 or self.text[place - 1] == _JOINER
        ):
            place -= 1
        return max(place, 0)

    def _word_start(self) -> int:
        found = re.search(r"\S+\s*\Z", self.text[: self.cursor])
        return found.start() if found else 0

    def _left(self) -> None:
        self.cursor = self._before(self.cursor)

    def _right(self) -> None:
        self.cursor = self._after(self.cursor)

    def _home(self) -> None:
        self.cursor = 0

    def _end(self) -> None:
        self.cursor = len(self.text)

    def _word_left(self) -> None:
        self.cursor = self._word_start()

    def _word_right(self) -> None:
        found = re.match(r"\s*\S+", self.text[self.cursor :])
        self.cursor = self.cursor + found.end() if found else len(self.text)

    # -- deleting ----------------------------------------------------------------

    def _cut(self, start: int, end: int) -> str:
        cut = self.text[start:end]
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start
        return cut

    def _backspace(self) -> None:
        self._cut(self._before(self.cursor), self.cursor)

    def _delete(self) -> None:
        self._cut(self.cursor, self._after(self.cursor))

    def _kill_word(self) -> None:
        self._killed = self._cut(self._word_start(), self.cursor)

    def _kill_start(self) -> None:
        self._killed = self._cut(0, self.cursor)

    def _kill_rest(self) -> None:
        self._killed = self._cut(self.cursor, len(self.text))
