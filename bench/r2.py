"""R2: what becomes of three times the load that the service can bear.

First the most that it does is found out: SendMessage from handsets, and MESSAGE for
users who are away. Then three times as many begin in each second, whether the earlier
ones were answered or not. Told are what was done meanwhile beside that most, how fast
a refusal comes, what memory grew by, and when the service is quick again afterwards.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.crowd import Crowd, measured, message, off_the_server
from bench.p1 import TEXT
from bench.p2 import storing, workplace
from bench.processes import LOAD_CPU, SECONDS, Target, listening, load
from bench.report import Line
from bench.service import DOMAIN, Service, log_in, send_message, serving
from bench.surge import Surge, Tally

SESSIONS = 2000
AWAY = 2000
TIMES = 3
OVERLOAD = 10.0
"""Seconds."""
QUICK = 0.1
"""Seconds in which a service that has recovered answers."""
_PATIENCE = 30.0
_SETTINGS = """\
[offline]
max_messages = 1000000
max_bytes = "1GiB"
"""


@dataclass(slots=True)
class Course:
    """How an overload went by; memory in mebibytes, times in seconds."""

    most: float
    tally: Tally
    before: float
    peak: float
    after: float
    recovered: float
    details: dict[str, Any] = field(default_factory=dict)


def measure() -> list[Line]:
    """Give a line for each road."""
    with (
        workplace() as folder,
        listening("bench.sipcore", LOAD_CPU) as core,
        serving(
            folder,
            core=core.port,
            subscribers=SESSIONS + AWAY,
            settings=_SETTINGS,
            # Those of the round before may not be closed yet.
            binding="max_connections = 16384\nmax_connections_per_address = 16384",
        ) as service,
    ):
        lines = [
            _line("SendMessage", _handsets(service)),
            _line("MESSAGE to be stored", _senders(service)),
        ]
        if "Traceback" in service.log:
            raise RuntimeError(f"the service logged a defect:\n{service.log}")
    return lines


def _line(what: str, course: Course) -> Line:
    tally = course.tally
    done = tally.times["done"]
    refused = tally.times["refused"]
    return Line(
        id="R2",
        what=f"{what}, {tally.begun / tally.seconds / course.most:.1f} x the most",
        value=len(done) / tally.seconds,
        unit="done/s",
        anchor="the most",
        anchor_value=course.most,
        goal="memory flat, < 2 s",
        note=f"done p50 {tally.at('done', 50):.0f}, p99 {tally.at('done', 99):.0f} ms; "
        f"{len(refused) / tally.seconds:,.0f} refused/s p50 "
        f"{tally.at('refused', 50):.0f}, p99 {tally.at('refused', 99):.0f} ms; "
        f"{tally.silent} of {tally.begun} unanswered, {tally.late} begun late; memory "
        f"{course.before:.0f}, {course.peak:.0f}, {course.after:.0f} MiB; "
        f"recovered in {course.recovered:.2f} s",
        details={"begun": tally.begun, "seconds": tally.seconds, "most": course.most},
    )


def _handsets(service: Service) -> Course:
    requests = [
        send_message(log_in(service, number), number, TEXT)
        for number in range(SESSIONS)
    ]
    [found] = load([Target(service.http, requests, ("<Code>200</Code>",))])
    surge = Surge()
    for request in requests:
        surge.line(service.http.port, request)
    return _course(service, found["rate"], surge, surge.probe_http)


def _senders(service: Service) -> Course:
    crowd = Crowd(64, sip=service.sip)
    numbers = iter(range(10_000_000))

    def ask(port: int) -> Any:
        number = next(numbers)
        user = f"u{SESSIONS + number % AWAY}"
        return message(port, user, f"sip{number % 50}", DOMAIN, number)

    with contextlib.closing(crowd):
        found = measured(
            service.http, crowd, lambda seat: storing(ask(crowd.port)), SECONDS
        )
    surge = Surge()
    surge.datagrams(service.sip, ask)
    return _course(service, found["rate"], surge, surge.probe_sip)


def _course(
    service: Service, most: float, surge: Surge, probe: Callable[[], float]
) -> Course:
    """Overload, and see when a lonely request is answered quickly again."""
    before = resident(service)
    peak = [before]
    with contextlib.closing(surge), off_the_server():
        tally = surge.run(
            TIMES * most, OVERLOAD, lambda: peak.append(resident(service))
        )
        ended = time.perf_counter()
        while (took := probe()) > QUICK:
            if time.perf_counter() - ended > _PATIENCE:
                raise RuntimeError("the service does not recover")
        recovered = time.perf_counter() - ended - took
    time.sleep(1)
    return Course(most, tally, before, max(peak), resident(service), recovered)


def resident(service: Service) -> float:
    """Give the mebibytes of memory that the service holds."""
    status = Path(f"/proc/{service.http.pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
