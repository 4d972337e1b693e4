"""P1: SendMessage over HTTP → SIP MESSAGE → 200 → SendMessage-Response.

A 100-byte text, 64 sessions on keep-alive connections, 16 in flight; the SIP core is
another process, reached over UDP and over TCP. The anchor is unmodified twisted.web
with a constant reply; the ceiling is our own HTTP binding with one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.processes import LOAD_CPU, SERVER_CPU, listening, load
from bench.report import Line
from bench.service import log_in, send_message, serving

SESSIONS = 64
IN_FLIGHT = 16
TEXT = ("The quick brown fox jumps over the lazy dog. " * 3)[:100]
_NEEDED = ("HTTP/1.1 200 OK\r\n", "SendMessage-Response", "<Code>200</Code>")


def measure() -> list[Line]:
    """Give one line for each transport to the core, and one for the binding alone."""
    like = [send_message("A" * 22, number, TEXT) for number in range(SESSIONS)]
    with listening("bench.anchors.twisted_web", SERVER_CPU) as server:
        anchor = load(server, like, in_flight=IN_FLIGHT)
    with listening("bench.constant_reply", SERVER_CPU) as server:
        ceiling = load(server, like, in_flight=IN_FLIGHT)
    lines = [_line("P1", transport, anchor, ceiling) for transport in ("udp", "tcp")]
    constant = Line(
        id="P1-http",
        what="csp-http binding, constant reply",
        value=ceiling["rate"],
        unit="POST/s",
        anchor="twisted.web",
        anchor_value=anchor["rate"],
        goal=">= 5",
        note=_note(ceiling, anchor),
        details=ceiling,
    )
    return [*lines, constant]


def _line(
    name: str, transport: str, anchor: dict[str, Any], ceiling: dict[str, Any]
) -> Line:
    found = sending(transport)
    bound = ceiling["rate"] < 3 * found["rate"]
    return Line(
        id=f"{name}-{transport}",
        what=f"SendMessage to SIP MESSAGE and back over {transport.upper()}",
        value=found["rate"],
        unit="msg/s",
        anchor="twisted.web",
        anchor_value=anchor["rate"],
        goal=">= 1.5, p99 <= 5 ms",
        note=_note(found, anchor) + (", generator-bound" if bound else ""),
        details={**found, "anchor": anchor, "ceiling": ceiling["rate"]},
    )


def _note(found: dict[str, Any], anchor: dict[str, Any]) -> str:
    return (
        f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms; processor "
        f"{found['cpu_us']:.0f} us each, anchor {anchor['cpu_us']:.0f} us"
    )


def sending(transport: str, sessions: int = SESSIONS) -> dict[str, Any]:
    """Measure the service with its core behind one transport."""
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
        found = load(service.http, requests, needed=_NEEDED, in_flight=IN_FLIGHT)
        if "Traceback" in service.log:
            raise RuntimeError(f"the service logged a defect:\n{service.log}")
    return found
