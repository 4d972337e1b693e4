"""``python -m tests.live.picture``: draw docs/conversation.svg from two terminals.

The real service, a handset and a SIP user in tmux; their screens, with the colours that
they asked for, become text in an SVG that follows the reader's light or dark setting.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from html import escape
from pathlib import Path

from gateway.cli._editor import cells
from tests.live.gateway import GatewayService
from tests.live.tmux import Pane, Tmux

PICTURE = Path(__file__).parents[2] / "docs" / "conversation.svg"
PROGRAM = str(Path(sys.executable).parent / "imps-gateway")
SIZE = (86, 12)
_CELL, _LINE, _MARGIN = 8.4, 19, 14
_SGR = re.compile(r"\x1b\[([\d;]*)m")
# Colours by their SGR numbers: for light and dark backgrounds.
_COLOURS = {
    31: ("#b3261e", "#ff8a80"),
    32: ("#1b6e2c", "#7ee787"),
    33: ("#7a5200", "#e3b341"),
    34: ("#0b4fb3", "#79c0ff"),
    35: ("#8a2a8f", "#e2a6ff"),
    36: ("#00677d", "#56d4dd"),
}


def style() -> str:
    """Write the style sheet."""
    light = "".join(f".c{n}{{fill:{a}}}" for n, (a, _) in _COLOURS.items())
    dark = "".join(f".c{n}{{fill:{b}}}" for n, (_, b) in _COLOURS.items())
    return (
        "text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;"
        "font-size:14px;"
        "fill:#1f2328;white-space:pre}.box{fill:#f6f8fa;stroke:#8c959f}"
        f".b{{font-weight:bold}}.d{{opacity:.65}}{light}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}"
        f".box{{fill:#0d1117;stroke:#57606a}}{dark}}}"
    )


def runs(row: str) -> Iterator[tuple[str, str, int]]:
    """Part a row of a screen into texts of one look: class names, text, first cell."""
    look: list[str] = []
    place = column = 0
    for found in [*_SGR.finditer(row), None]:
        text = row[place : found.start()] if found else row[place:]
        if text.strip():
            lead = len(text) - len(text.lstrip())
            yield " ".join(look), text.strip(), column + lead
        column += cells(text)
        if found:
            place = found.end()
            look = _look(look, found[1])


def _look(before: list[str], parameters: str) -> list[str]:
    look = list(before)
    for number in map(int, (parameters or "0").split(";")):
        if number == 0:
            look = []
        elif number in (1, 2):
            look.append("b" if number == 1 else "d")
        elif number in _COLOURS or number == 39:
            look = [name for name in look if name[0] != "c"]
            look += [f"c{number}"] if number != 39 else []
    return look


def draw(screens: list[tuple[str, str]], columns: int) -> str:
    """Draw screens under each other, each with its title."""
    width = round(columns * _CELL) + 2 * _MARGIN
    parts, top = [], 0
    for title, screen in screens:
        rows = screen.rstrip().splitlines()
        height = len(rows) * _LINE + _MARGIN
        top += 26
        parts.append(f'<text class="b" x="{_MARGIN}" y="{top - 8}">{title}</text>')
        parts.append(
            f'<rect class="box" x=".5" y="{top}.5" width="{width - 1}" '
            f'height="{height}" rx="6"/>'
        )
        for number, row in enumerate(rows, 1):
            for look, text, column in runs(row):
                name = f' class="{look}"' if look else ""
                x = round(_MARGIN + column * _CELL, 1)
                length = round(cells(text) * _CELL, 1)
                parts.append(
                    f'<text{name} x="{x:g}" y="{top + number * _LINE}" '
                    f'textLength="{length:g}">{escape(text)}</text>'
                )
        top += height + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" '
        f'role="img" aria-label="A handset and a SIP user talk over the gateway">'
        f"<style>{style()}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def converse(alice: Pane, bob: Pane) -> None:
    """Hold the conversation of the picture."""
    bob.sees("registered")
    alice.sees("logged in")
    alice.enter("Are you on the new network already?")
    bob.sees("Are you on")
    bob.enter("Since Monday. And you still have that old phone?")
    alice.sees("old phone?")
    alice.enter("It does all I need: it reaches you.")
    bob.sees("it reaches you")
    bob.type("Then keep i")
    bob.ends_with("sip:alice@example.com> Then keep i")
    alice.enter("/who")
    alice.sees("has written")


def main() -> None:
    """Start everything, talk, and write the picture."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as ending:
        folder = Path(name)
        service = Example(folder)
        tmux = Tmux(folder, size=SIZE)
        for program in (service, tmux):
            ending.callback(program.end)
            program.start()
        # The titles are the commands, with the ports of the demonstration.
        handset = ["handset", f"http://127.0.0.1:{service.http_port}/csp"]
        handset += ["--user", "wv:alice@example.com"]
        sip = ["sip-user", "--core", f"sip:127.0.0.1:{service.sip_port}"]
        sip += ["--aor", "sip:bob@example.com"]
        panes = [
            tmux.open([PROGRAM, *words, "--password", password, "--to", to])
            for words, password, to in (
                (handset, service.password("alice"), "wv:bob@example.com"),
                (sip, "bob", "sip:alice@example.com"),
            )
        ]
        converse(*panes)
        titles = [f"$ imps-gateway {' '.join(words)}" for words in (handset, sip)]
        for port, usual in ((service.http_port, 8080), (service.sip_port, 5062)):
            titles = [title.replace(f":{port}", f":{usual}") for title in titles]
        screens = [pane.screen("-e") for pane in panes]
    PICTURE.write_text(
        draw(list(zip(titles, screens, strict=True)), SIZE[0]), encoding="utf-8"
    )


class Example(GatewayService):
    """The service with the users of the picture."""

    domain = "example.com"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, subscribers=("alice", "bob"))


if __name__ == "__main__":
    main()
