"""Durability is shown, not assumed: fsyncs counted from outside, processes killed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.doubles import outcome

ROOT = Path(__file__).parent.parent.parent
STORE = [sys.executable, "-m", "tests.store.durable"]


def flushes(trace: Path) -> int:
    """Count what strace saw become durable in the write-ahead log.

    The database file itself is flushed at checkpoints only.
    """
    lines = trace.read_text().splitlines()
    return sum(
        re.search(r"f(data)?sync\(\d+<[^>]*-wal>", line) is not None for line in lines
    )


def traced(tmp_path: Path, *arguments: str) -> tuple[int, int]:
    """Run the storing process under strace; return its flushes and its commits."""
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
    url = f"sqlite:///{tmp_path}/gateway.db"
    # The schema first, so that its own commits are not counted.
    subprocess.run([*STORE, url, "1"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(
        [*strace, *STORE, url, *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == int(arguments[0]) + 1
    return flushes(trace), int(lines[-1].removeprefix("commits "))


@pytest.mark.component("strace")
def test_each_acknowledged_write_alone_is_one_flush(tmp_path):
    flushed, commits = traced(tmp_path, "20")
    # The first is known already and changes nothing.
    assert commits == 20
    assert 19 <= flushed <= 2 * 20


@pytest.mark.component("strace")
def test_writes_together_share_a_flush(tmp_path):
    flushed, commits = traced(tmp_path, "200", "50")
    assert commits < 100
    assert commits - 1 <= flushed <= 2 * commits


@pytest.mark.parametrize("promised", [5, 60, 300])
def test_what_was_promised_survives_a_kill(make, url, promised):
    process = subprocess.Popen(
        [*STORE, url, "0", "7"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(promised)]
    process.kill()
    told += process.stdout.read().split("\n")[:-1]
    process.stdout.close()
    process.wait()
    store = make(url)
    missing = [each for each in told if outcome(store.message(each)) is None]
    assert len(told) >= promised
    assert missing == []
