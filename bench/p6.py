"""P6: a request while there are many sessions, and a poll before a long queue.

The figures are processor time of the service for a request. Two services stand side by
side, one with 100 sessions and one with 100 000, each session another user's; they are
put into the store's tables and claimed at the start, as after a restart, and all are
registered at the core before anything is measured. The requests go to sessions of a
sample of 5 000, at random.

The queues are put into the store likewise; each poll is given one new message.
``P6_SESSIONS`` in the environment takes the place of 100 000, for a quick look.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.crowd import Actor, Crowd, Post, measured, middle
from bench.load import SLOT
from bench.p1 import TEXT
from bench.p2 import workplace
from bench.p7 import registered
from bench.processes import LOAD_CPU, ROUNDS, SECONDS, Server, listening
from bench.report import Line
from bench.service import DOMAIN, Service, post, send_message, serving
from gateway.csp.common import PollingRequest
from gateway.csp.envelope import Mode, Transaction
from gateway.csp.negotiation import Agreed
from gateway.store import SessionRecord, StoredMessage, messages, sessions

FEW, MANY = 100, int(os.environ.get("P6_SESSIONS", "100000"))
SAMPLE = 5000
SEATS = 32
HEAVY, QUEUED, POLLS = 10, 2000, 1500
"""Users with a long queue, how long it is at least, and the polls of a round."""
_LONG = POLLS * ROUNDS // HEAVY + QUEUED
_LIGHT = POLLS * ROUNDS
_SETTINGS = f"""\
[session]
queue = {2 * _LONG}
[offline]
max_messages = {2 * _LONG}
max_bytes = "64MiB"
"""
_PATIENCE = 600.0
_YEAR = 365 * 86400


def measure() -> list[Line]:
    """Give the lines of many sessions, and that of long queues."""
    with workplace() as folder:
        return [*_many(folder), _queues(folder)]


# -- many sessions -----------------------------------------------------------------


def _many(folder: Path) -> list[Line]:
    with (
        _restored(folder / "few", FEW) as few,
        _restored(folder / "many", MANY) as many,
    ):
        lines = [
            _compared("SendMessage", few, many, sending),
            _compared("empty poll", few, many, polling),
        ]
        for service in (few, many):
            _sound(service)
        return lines


def _compared(
    what: str,
    few: Service,
    many: Service,
    requests: Callable[[int], Iterator[Post]],
) -> Line:
    found: dict[int, list[dict[str, Any]]] = {FEW: [], MANY: []}
    with contextlib.ExitStack() as stack:
        runs = []
        for count, service in ((FEW, few), (MANY, many)):
            crowd = Crowd(SEATS, http=service.http.port)
            stack.callback(crowd.close)
            runs.append((count, service, crowd, requests(count)))
        for _ in range(ROUNDS):
            for count, service, crowd, posts in runs:

                def actors(seat: int, posts: Iterator[Post] = posts) -> Actor:
                    return answered(next(posts))

                measured(service.http, crowd, actors, SECONDS / 4)
                found[count].append(measured(service.http, crowd, actors, SECONDS))
    alone, beside = (middle(found[count], "cpu_us") for count in (MANY, FEW))
    return Line(
        id="P6",
        what=f"{what} with {MANY} sessions",
        value=alone["cpu_us"],
        unit="us processor",
        anchor=f"with {FEW}",
        anchor_value=beside["cpu_us"],
        goal="<= 1.15",
        note=f"{alone['rate']:,.0f} and {beside['rate']:,.0f} a second; resident "
        f"{_resident(many):,.0f} and {_resident(few):,.0f} MiB",
        details={"many": alone, "few": beside},
    )


def answered(request: Post) -> Actor:
    """Do one request; the session must be there."""
    reply = yield request
    if not reply.startswith(b"HTTP/1.1 200") or b"<Code>604" in reply:
        raise RuntimeError(f"not answered: {reply!r}")


def _sample(count: int) -> list[int]:
    return random.Random(1).sample(range(count), min(count, SAMPLE))


def sending(count: int) -> Iterator[Post]:
    """Give SendMessages of sessions at random, for ever."""
    halves = [
        send_message(session_id(number), number, TEXT).encode().split(SLOT.encode())
        for number in _sample(count)
    ]
    serial = 0
    while True:
        before, after = random.choice(halves)
        serial += 1
        yield Post(b"%b%08d%b" % (before, serial, after))


def polling(count: int) -> Iterator[Post]:
    """Give polls of sessions at random, for ever."""
    posts = [poll(number) for number in _sample(count)]
    while True:
        yield random.choice(posts)


def poll(number: int) -> Post:
    """Write a poll of user ``number``."""
    transaction = Transaction(id="1", mode=Mode.REQUEST, primitive=PollingRequest())
    return Post(post(session_id(number), transaction))


def session_id(number: int) -> str:
    """Give the id of the session of user ``number``, as long as a real one."""
    return f"{number:022d}"


# -- long queues -------------------------------------------------------------------


def _queues(folder: Path) -> Line:
    """Compare polls of users who have one message waiting with those of thousands."""
    users = HEAVY + _LIGHT
    with _restored(folder / "queues", users, _SETTINGS, queues) as service:
        heavy, light = [], []
        for number in range(ROUNDS):
            first = HEAVY + number * POLLS
            light.append(_polls(service, range(first, first + POLLS)))
            heavy.append(_polls(service, [n % HEAVY for n in range(POLLS)]))
        _sound(service)
    long, short = middle(heavy, "cpu_us"), middle(light, "cpu_us")
    return Line(
        id="P6",
        what=f"poll with {QUEUED} messages queued",
        value=long["cpu_us"],
        unit="us processor",
        anchor="with one",
        anchor_value=short["cpu_us"],
        goal="<= 1.2",
        note=f"{long['rate']:,.0f} and {short['rate']:,.0f} polls a second",
        details={"long": long, "short": short},
    )


def _polls(service: Service, users: range | list[int]) -> dict[str, Any]:
    numbers = iter(users)

    def actors(seat: int) -> Actor | None:
        number = next(numbers, None)
        return None if number is None else given(poll(number))

    with contextlib.closing(Crowd(SEATS, http=service.http.port)) as crowd:
        return measured(service.http, crowd, actors)


def given(request: Post) -> Actor:
    """Poll; a message must come."""
    reply = yield request
    if b"<NewMessage>" not in reply:
        raise RuntimeError(f"no message: {reply!r}")


def queues(link: sqlite3.Connection, now: int) -> None:
    """Put the queues into the store: long ones, then those of one message."""
    users = [number for number in range(HEAVY) for _ in range(_LONG)]
    users += range(HEAVY, HEAVY + _LIGHT)
    rows = (
        messages.to_row(
            StoredMessage(
                id=f"{serial:022d}",
                recipient=f"sip:u{number}@{DOMAIN}",
                sender=f"wv:sip{serial % 100}@{DOMAIN}",
                content_type="text/plain;charset=UTF-8",
                content=TEXT.encode(),
                sent_at=now + serial,
                accepted_at=now + serial,
                expires_at=now + _YEAR * 10**6,
                direction="to_handset",
            )
        )
        for serial, number in enumerate(users)
    )
    _insert(link, "messages", rows)


# -- sessions that are there -------------------------------------------------------


@contextlib.contextmanager
def _restored(
    folder: Path,
    count: int,
    settings: str = "",
    more: Callable[[sqlite3.Connection, int], None] | None = None,
) -> Iterator[Service]:
    """Run the service with so many sessions, and wait until all are registered."""
    folder.mkdir()

    def before(folder: Path) -> None:
        now = int(time.time() * 1e6)
        with contextlib.closing(
            sqlite3.connect(folder / "state" / "gateway.db", isolation_level=None)
        ) as link:
            link.execute("BEGIN")
            _insert(link, "sessions", (_row(number, now) for number in range(count)))
            if more is not None:
                more(link, now)
            link.execute("COMMIT")

    with (
        listening("bench.registrar", LOAD_CPU) as registrar,
        serving(
            folder,
            core=registrar.port,
            subscribers=count,
            settings=settings,
            before=before,
        ) as service,
    ):
        _settle(service, registrar, count)
        yield service


def _row(number: int, now: int) -> dict[str, Any]:
    state = {
        "user": f"wv:u{number}@{DOMAIN}",
        "agreed": asdict(Agreed(negotiated=True)),
        "services": None,
        "ready": True,
    }
    record = SessionRecord(
        id=session_id(number),
        aor=f"sip:u{number}@{DOMAIN}",
        client_id="imps-gateway:bench",
        version=12,
        cookie="bench",
        bearer="HTTP",
        keep_alive=86400,
        state=state,
        last_activity=now,
    )
    return sessions.to_row(record)


def _insert(
    link: sqlite3.Connection, table: str, rows: Iterator[dict[str, Any]]
) -> None:
    first = next(rows)
    names = ", ".join(first)
    values = ", ".join(f":{name}" for name in first)
    sql = f"INSERT INTO {table} ({names}) VALUES ({values})"
    link.execute(sql, first)
    link.executemany(sql, rows)


def _settle(service: Service, registrar: Server, count: int) -> None:
    """Wait until the sessions are registered and the service has nothing to do."""
    end = time.monotonic() + _PATIENCE
    busy = 1.0
    while busy > 0.05 or registered(registrar) < count:
        if time.monotonic() > end:
            raise RuntimeError(
                f"{registered(registrar)} of {count} are registered:\n{service.log}"
            )
        used = service.http.cpu
        time.sleep(1)
        busy = service.http.cpu - used


def _sound(service: Service) -> None:
    if "Traceback" in service.log:
        raise RuntimeError(f"the service logged a defect:\n{service.log}")


def _resident(service: Service) -> float:
    """Give the mebibytes of memory that the service holds."""
    status = Path(f"/proc/{service.http.pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
