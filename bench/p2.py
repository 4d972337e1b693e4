"""P2: the full cycle inwards, durable; and its storing half.

A cycle is: a SIP MESSAGE for a handset with an open session, 200, a poll, NewMessage,
MessageDelivered, which is committed as the end of the message before its reply leaves.
The storing half is a MESSAGE for a user who is logged out, up to its 202. The service
has one processor; senders, handsets, the core and PostgreSQL share the other.

Baraza (an IMPS server in C on PostgreSQL) was measured once, on a machine of this kind;
msilo runs beside the service, in turn, on the processor of the service. It flushes for
every message, the service for a group, so the ratio also tells how fast the disk is.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.anchors import msilo
from bench.crowd import Actor, Ask, Crowd, Post, measured, message, middle
from bench.processes import LOAD_CPU, ROUNDS, SECONDS, Server, listening
from bench.report import Line
from bench.service import DOMAIN, SQLITE, Service, log_in, post, serving
from bench.store import Durable, flush
from gateway.csp.common import PollingRequest
from gateway.csp.envelope import Mode, Transaction
from gateway.csp.messaging import MessageDelivered

HANDSETS = 64
AWAY = 2000
SENDERS = 256
"""In flight in the storing half: what waits together is committed together."""
STORING = 2.0
"""Seconds of a round there: a transaction over UDP is kept for 32 s (timer J), and all
rounds together must stay below the 100 000 that a service keeps at a time."""
BARAZA = 179.0
"""Cycles a second."""
_OFFERED = re.compile(
    rb"<TransactionID>(\d+)</TransactionID>.*<MessageID>([^<]+)</MessageID>"
)
_numbers = itertools.count()


class Handset:
    """What one handset says in its cycles."""

    def __init__(self, session_id: str, user: str) -> None:
        self._session_id = session_id
        self.user = user
        poll = Transaction(id="1", mode=Mode.REQUEST, primitive=PollingRequest())
        self.poll = Post(post(session_id, poll))

    def delivered(self, reply: bytes) -> Post:
        """Confirm the one message of a reply; RuntimeError when there is none."""
        found = _OFFERED.search(reply)
        if found is None or b"NewMessage" not in reply:
            raise RuntimeError(f"no message for {self.user}: {reply!r}")
        transaction = Transaction(
            id=found[1].decode(),
            mode=Mode.RESPONSE,
            primitive=MessageDelivered(message_id=found[2].decode()),
        )
        return Post(post(self._session_id, transaction))


def cycle(handset: Handset, ask: Ask) -> Actor:
    """Send one MESSAGE to a handset and have it fetched and confirmed."""
    status(200, (yield ask))
    reply = yield handset.poll
    reply = yield handset.delivered(reply)
    if not reply.startswith(b"HTTP/1.1 200") or b"NewMessage" in reply:
        raise RuntimeError(f"not confirmed: {reply!r}")


def storing(ask: Ask) -> Actor:
    """Send one MESSAGE to a user who is away."""
    status(202, (yield ask))


def status(wanted: int, answer: bytes) -> None:
    """Check a SIP answer; raises RuntimeError when it is another one."""
    if not answer.startswith(b"SIP/2.0 %d " % wanted):
        raise RuntimeError(f"not {wanted}: {answer!r}")


def measure() -> list[Line]:
    """Measure both halves on both databases, each with a store of its own."""
    lines = []
    for database in ("SQLite", "PostgreSQL"):
        for half in (_cycles, _storing):
            with (
                workplace() as folder,
                _store(database, folder) as (url, port),
                listening("bench.sipcore", LOAD_CPU) as core,
                serving(
                    folder, core=core.port, subscribers=HANDSETS + AWAY, store=url
                ) as service,
            ):
                lines.append(half(service, database, port))
                if "Traceback" in service.log:
                    raise RuntimeError(f"the service logged a defect:\n{service.log}")
    return lines


@contextlib.contextmanager
def _store(database: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Give the URL of a store, and the port of PostgreSQL where that runs."""
    if database == "SQLite" and msilo.has_sqlite():
        yield SQLITE, 0
        return
    server = Durable(folder / "postgres.log")
    server.start()
    try:
        yield (SQLITE if database == "SQLite" else server.url), server.port
    finally:
        server.end()


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Give a folder on a disk: what is in memory needs no flush."""
    with tempfile.TemporaryDirectory(prefix="imps-bench-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _cycles(service: Service, database: str, port: int) -> Line:
    handsets = [
        Handset(log_in(service, number), f"u{number}") for number in range(HANDSETS)
    ]
    crowd = Crowd(HANDSETS, http=service.http.port, sip=service.sip)

    def actors(seat: int) -> Actor:
        handset, number = handsets[seat], next(_numbers)
        sender = f"sip{number % HANDSETS}"
        return cycle(handset, message(crowd.port, handset.user, sender, DOMAIN, number))

    with contextlib.closing(crowd):
        [found] = in_turn([(service.http, crowd, actors)])
    return Line(
        id="P2",
        what=f"cycle SIP to handset, {database}",
        value=found["rate"],
        unit="cycles/s",
        anchor="Baraza, recorded",
        anchor_value=BARAZA,
        goal=">= 10",
        note=f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms; "
        f"{found['cpu_us']:.0f} us processor each",
        details=found,
    )


def _storing(service: Service, database: str, port: int) -> Line:
    flushed = flush(service.folder)
    place = service.folder / "anchor"
    place.mkdir()
    with contextlib.ExitStack() as stack:
        beside = msilo.on_postgresql(place, port) if port else msilo.on_sqlite(place)
        anchor = stack.enter_context(beside)
        ours, theirs = Crowd(SENDERS, sip=service.sip), Crowd(SENDERS, sip=anchor.port)
        stack.callback(ours.close)
        stack.callback(theirs.close)
        bare, found = in_turn(
            [(anchor, theirs, _senders(theirs)), (service.http, ours, _senders(ours))],
            STORING,
        )
    return Line(
        id="P2",
        what=f"MESSAGE stored, {database}",
        value=found["rate"],
        unit="msg/s",
        anchor=f"msilo on {'PostgreSQL' if port else 'SQLite'}",
        anchor_value=bare["rate"],
        goal=">= 3",
        note=f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms; processor "
        f"{found['cpu_us']:.0f} us each, anchor {bare['cpu_us']:.0f} us; "
        f"flush {flushed:.0f} us",
        details={**found, "anchor": bare, "flush_us": flushed},
    )


def _senders(crowd: Crowd) -> Callable[[int], Actor]:
    def actors(seat: int) -> Actor:
        number = next(_numbers)
        user = f"u{HANDSETS + number % AWAY}"
        return storing(message(crowd.port, user, f"sip{seat}", DOMAIN, number))

    return actors


def in_turn(
    runs: list[tuple[Server, Crowd, Callable[[int], Actor | None]]],
    seconds: float = SECONDS,
) -> list[dict[str, Any]]:
    """Run crowds in turn, round by round; give each one's round of median rate."""
    found: list[list[dict[str, Any]]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for (server, crowd, actors), outcomes in zip(runs, found, strict=True):
            measured(server, crowd, actors, seconds / 4)
            outcomes.append(measured(server, crowd, actors, seconds))
    return [middle(outcomes) for outcomes in found]
