"""P1: SendMessage over HTTP → SIP MESSAGE → 200 → SendMessage-Response.

A 100-byte text, 64 sessions on keep-alive connections, 16 in flight; the SIP core is
another process, reached over UDP and over TCP. The anchor is unmodified twisted.web
with a constant reply; the ceiling is our own HTTP binding with one.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.processes import LOAD_CPU, SERVER_CPU, Target, listening, load
from bench.report import Line
from bench.service import log_in, send_message, serving

SESSIONS = 64
IN_FLIGHT = 16
TEXT = ("The quick brown fox jumps over the lazy dog. " * 3)[:100]
_NEEDED = ("HTTP/1.1 200 OK\r\n", "SendMessage-Response", "<Code>200</Code>")


def measure() -> list[Line]:
    """Give one line for each transport to the core, and one for the binding alone."""
    lines = []
    with (
        listening("bench.anchors.twisted_web", SERVER_CPU) as anchor,
        listening("bench.constant_reply", SERVER_CPU) as constant,
    ):
        for transport in ("udp", "tcp"):
            with sending(transport) as target:
                like = target.requests
                others = [Target(anchor, like), Target(constant, like)]
                measured = load([*others, target], in_flight=IN_FLIGHT)
            bare, ceiling, found = measured
            lines.append(_line(transport, found, bare, ceiling))
    alone = Line(
        id="P1-http",
        what="csp-http binding, constant reply",
        value=ceiling["rate"],
        unit="POST/s",
        anchor="twisted.web",
        anchor_value=bare["rate"],
        goal=">= 5",
        note=_note(ceiling, bare),
        details=ceiling,
    )
    return [*lines, alone]


def _line(
    transport: str,
    found: dict[str, Any],
    bare: dict[str, Any],
    ceiling: dict[str, Any],
) -> Line:
    bound = ceiling["rate"] < 3 * found["rate"]
    return Line(
        id=f"P1-{transport}",
        what=f"SendMessage to SIP MESSAGE and back over {transport.upper()}",
        value=found["rate"],
        unit="msg/s",
        anchor="twisted.web",
        anchor_value=bare["rate"],
        goal=">= 1.5, p99 <= 5 ms",
        note=_note(found, bare) + (", generator-bound" if bound else ""),
        details={**found, "anchor": bare, "ceiling": ceiling["rate"]},
    )


def _note(found: dict[str, Any], bare: dict[str, Any]) -> str:
    return (
        f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms; processor "
        f"{found['cpu_us']:.0f} us each, anchor {bare['cpu_us']:.0f} us "
        f"({bare['cpu_us'] / found['cpu_us']:.2f})"
    )


@contextlib.contextmanager
def sending(transport: str, sessions: int = SESSIONS) -> Iterator[Target]:
    """Run the service with its core behind one transport and its users logged in.

    Raises RuntimeError at the end when the service logged a defect.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        listening("bench.sipcore", LOAD_CPU) as core,
        serving(
            Path(folder), core=core.port, transport=transport, subscribers=sessions
        ) as service,
    ):
        requests = [
            send_message(log_in(service, number), number, TEXT)
            for number in range(sessions)
        ]
        yield Target(service.http, requests, _NEEDED)
        if "Traceback" in service.log:
            raise RuntimeError(f"the service logged a defect:\n{service.log}")
