"""A person at a terminal, played by tmux: types keys and reads the screen."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from tests.live.programs import Program, wait_until

COLUMNS, ROWS = 100, 30
# A pane outlives its command and shows its status: tmux itself may lose the last words
# of a command that ends with its terminal.
_ENDED = "[ended with "
_OUTLIVE = f'"$@"; echo "{_ENDED}$?]"; exec cat >/dev/null'


class Tmux(Program):
    """A tmux server of our own, with no configuration; each pane runs one command."""

    def __init__(
        self, folder: Path, *, size: tuple[int, int] = (COLUMNS, ROWS)
    ) -> None:
        self.socket = folder / "tmux"
        self.size = size
        # -D: in the foreground, as a child that ends with the test.
        command = ["tmux", "-D", "-f", "/dev/null", "-S", str(self.socket)]
        environment = {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        super().__init__(command, folder / "tmux.log", environment)

    def start(self) -> None:
        """Start it and wait until it takes commands."""
        super().start()
        self.wait_for(self.socket.exists, "tmux")
        self.run("set-option", "-g", "default-terminal", "tmux-256color")

    def run(self, *words: str) -> str:
        """Run one command of tmux; give what it prints."""
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self.socket), *words],
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def open(self, command: list[str], **environment: str) -> Pane:
        """Run a command in a window of its own."""
        columns, rows = map(str, self.size)
        settings = [f"-e{name}={value}" for name, value in environment.items()]
        name = self.run(
            *("new-session", "-d", "-P", "-F", "#{pane_id}", "-x", columns, "-y", rows),
            *settings,
            shlex.join(["sh", "-c", _OUTLIVE, "sh", *command]),
        )
        return Pane(self, name.strip())


class Pane:
    """One terminal."""

    def __init__(self, tmux: Tmux, name: str) -> None:
        self._tmux = tmux
        self._name = name

    def type(self, text: str) -> None:
        """Type a text, without Enter."""
        self._tmux.run("send-keys", "-t", self._name, "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names for them: ``Enter``, ``Left``, ``C-c``."""
        self._tmux.run("send-keys", "-t", self._name, *keys)

    def enter(self, text: str) -> None:
        """Type a line."""
        self.type(text)
        self.press("Enter")

    def screen(self, *options: str) -> str:
        """Read the screen; the options are those of ``capture-pane``.

        ``-e``: with the colours, as a terminal is told to draw them.
        """
        return self._tmux.run("capture-pane", "-p", *options, "-t", self._name)

    def rows(self) -> list[str]:
        """Read the rows that have anything on them, wrapped ones as one."""
        rows = self.screen("-J").splitlines()
        return [row.rstrip() for row in rows if row.strip()]

    def sees(self, text: str, times: int = 1) -> None:
        """Wait until a text is on the screen, in so many rows."""
        self._wait(lambda: sum(text in row for row in self.rows()) >= times, text)

    def ends_with(self, row: str) -> None:
        """Wait until the last row of the screen, where one types, is that one."""
        self._wait(lambda: self.rows()[-1:] == [row], row)

    def status(self) -> int:
        """Wait until the command has ended; give its exit status."""
        self.sees(_ENDED)
        (row,) = (row for row in self.rows() if row.startswith(_ENDED))
        return int(row.removeprefix(_ENDED).rstrip("]"))

    def _wait(self, ready, what: str) -> None:
        try:
            wait_until(ready, what)
        except TimeoutError as error:
            raise AssertionError(f"no {what!r} in\n{self.screen()}") from error
