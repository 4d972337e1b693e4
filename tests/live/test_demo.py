"""``make run``: what it prints can be pasted, and its terminal's end is its end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.ports import free_ports

IMPS_GATEWAY = Path(sys.executable).parent / "imps-gateway"
DEMO = Path(__file__).parents[2] / "etc" / "demo.toml"


class Demo:
    """``imps-gateway run-demo`` in a terminal of its own, on free ports."""

    def __init__(self, folder: Path) -> None:
        sip, http = free_ports(2)
        text = DEMO.read_text().replace("5062", str(sip)).replace("8080", str(http))
        config = folder / "etc" / "demo.toml"
        config.parent.mkdir()
        config.write_text(text)
        self._terminal, inner = pty.openpty()
        self._text = ""
        self.process = subprocess.Popen(
            [IMPS_GATEWAY, "run-demo", "--config", config],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inner)

    def line(self, pattern: str) -> str:
        """Wait for a line of its output that matches, and give it."""
        while not (found := re.search(rf"^{pattern}.*$", self._text, re.MULTILINE)):
            more = os.read(self._terminal, 4096)
            self._text += more.decode().replace("\r\n", "\n")
        while found.end() == len(self._text):
            self._text += os.read(self._terminal, 4096).decode()
            found = re.search(rf"^{pattern}.*$", self._text, re.MULTILINE)
            assert found is not None
        return found[0].strip()

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self._terminal)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Start it; kill it if the test has not ended it."""
    started = Demo(tmp_path)
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()


def test_the_printed_line_sends_a_message_and_one_back(demo):
    line = demo.line(re.escape(f"{IMPS_GATEWAY} sip-user"))
    for _ in range(2):
        done = subprocess.run(
            line, shell=True, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "sip:alice@example.com: hello\n" in done.stdout
        assert "wv:bob@example.com: hi\n" in done.stdout
    demo.process.terminate()
    assert demo.process.wait(60) == 0
    demo.hang_up()


def test_it_ends_with_its_terminal(demo):
    demo.line(re.escape(f"{IMPS_GATEWAY} sip-user"))
    demo.hang_up()
    assert demo.process.wait(60) == 0
