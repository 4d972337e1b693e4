"""Programs under measurement: started on a core of their own, ended surely."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
_CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU = {_CPUS[0]}
LOAD_CPU = {_CPUS[-1]}
"""Load and core share the other one, as when the anchors were measured."""
ROUNDS = 3
SECONDS = 3.0


@contextlib.contextmanager
def running(
    command: Sequence[str], cpus: set[int], **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run a program on these CPUs for as long as the block lasts."""
    with subprocess.Popen(command, cwd=ROOT, text=True, **options) as process:
        os.sched_setaffinity(process.pid, cpus)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


class Server(NamedTuple):
    """A program that listens."""

    port: int
    pid: int

    @property
    def cpu(self) -> float:
        """Processor seconds it has used, its children's not included."""
        # The clock of another process, by the number that Linux gives it
        # (clock_getcpuclockid(3)): to the nanosecond, where /proc counts ticks.
        return time.clock_gettime(~self.pid << 3 | 2)


@contextlib.contextmanager
def listening(module: str, cpus: set[int], *arguments: str) -> Iterator[Server]:
    """Run one of our programs that prints its port."""
    command = [sys.executable, "-m", module, *arguments]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with running(command, cpus, **quiet) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{module} did not start")
        yield Server(int(line), process.pid)


class Target(NamedTuple):
    """A server and what it is asked; a reply without all of ``needed`` is a failure."""

    server: Server
    requests: Sequence[str]
    needed: Sequence[str] = ("HTTP/1.1 200 OK\r\n",)


def load(
    targets: Sequence[Target],
    *,
    in_flight: int = 16,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> list[dict[str, Any]]:
    """Load servers in turn, round by round; give each one's round of median rate.

    In turn, because a machine is not as fast at one time as at another.
    ``cpu_us`` is the processor time that the server used for a request: on a machine
    that does other things as well it says more than the rate. Raises RuntimeError when
    any reply lacks what is needed.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in targets]
    for number in range(rounds):
        for target, outcomes in zip(targets, found, strict=True):
            job = {
                "host": "127.0.0.1",
                "port": target.server.port,
                "requests": list(target.requests),
                "needed": list(target.needed),
                "in_flight": in_flight,
                "warm_up": seconds / 4,
                "seconds": seconds,
                "first_number": number * 5_000_000,
            }
            outcomes.append(_round(target.server, job))
    return [_middle(outcomes) for outcomes in found]


def _round(server: Server, job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.load"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    used = server.cpu
    with running(command, LOAD_CPU, **pipes) as process:
        output, _ = process.communicate(json.dumps(job), timeout=job["seconds"] + 60)
    if process.returncode:
        raise RuntimeError("the load generator failed; its error is above")
    outcome: dict[str, Any] = json.loads(output)
    if outcome["errors"]:
        raise RuntimeError(
            f"{outcome['errors']} of {outcome['count']} replies were not as "
            f"needed; the first: {outcome['first_error']}"
        )
    outcome["cpu_us"] = (server.cpu - used) / outcome["total"] * 1e6
    return outcome


def _middle(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    rate = statistics.median_low(outcome["rate"] for outcome in outcomes)
    return next(outcome for outcome in outcomes if outcome["rate"] == rate)
