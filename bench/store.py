"""P3: group commit, on SQLite and on PostgreSQL, both durable.

The anchor of each line is messages written by the bare driver, one a commit, to the
same table in the same directory and the same round. What a commit costs is mostly the
disk's flush, so that is measured too: with a fast one there is less for a group to
save. PostgreSQL runs on the same machine with fsync on. Disks are noisy: a line is the
round with the median ratio.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from bench.report import Line
from gateway.store import Limits, Registration, StoredMessage, messages
from gateway.store.link import Database, Sql
from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore
from tests.live.programs import PostgreSql

SECONDS = 1.0
WRITERS = 50
ROUNDS = 3
_LIMITS = Limits(max_messages=10**9, max_bytes=10**15)
_numbers = itertools.count()


class Durable(PostgreSql):
    """The tests' PostgreSQL, but with its flushes on."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.environment["PG_DURABLE"] = "1"


def message() -> StoredMessage:
    """Make a message of 100 octets, as the gateway stores one."""
    number = next(_numbers)
    key = f"{os.getpid()}-{number}"
    return StoredMessage(
        id=key,
        recipient=f"sip:user{number % 5000}@bench.example",
        sender="wv:alice@bench.example",
        content_type="text/plain; charset=utf-8",
        content=b"x" * 100,
        sent_at=number,
        accepted_at=number,
        expires_at=2**60,
        direction="to_handset",
        inbound_key=key,
    )


def registration() -> Registration:
    """Make the next REGISTER of one of a thousand subscribers."""
    number = next(_numbers)
    return Registration(
        aor=f"sip:user{number % 1000}@bench.example",
        instance="urn:uuid:00000000-0000-4000-8000-000000000000",
        call_id="0123456789012345678901",
        cseq=number,
    )


def anchor(database: Database, rows_a_commit: int) -> float:
    """Insert messages by the bare driver for a while; rows a second."""
    sql: Sql = messages._INSERT
    link = database.link(write=True)
    done = 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        rows = [messages.to_row(message()) for _ in range(rows_a_commit)]
        link.begin()
        link.many(sql, rows)
        link.commit()
        done += rows_a_commit
    rate = done / (time.perf_counter() - begun)
    link.close()
    return rate


def flush(folder: Path) -> float:
    """Append 4 KiB to a file and flush it, again and again; median microseconds."""
    times = []
    with open(folder / "flush", "wb", buffering=0) as file:
        for _ in range(500):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


async def writing(
    store: SqlStore, writers: int, write: Callable[[], Awaitable[Any]]
) -> tuple[float, float, float]:
    """Have writers write one after the other; writes a second, a commit, median µs."""
    end = time.perf_counter() + SECONDS
    times: list[float] = []

    async def writer() -> None:
        while (begun := time.perf_counter()) < end:
            await write()
            times.append(time.perf_counter() - begun)

    before = store.commits
    begun = time.perf_counter()
    await gatherResults([Deferred.fromCoroutine(writer()) for _ in range(writers)])
    rate = len(times) / (time.perf_counter() - begun)
    share = len(times) / (store.commits - before)
    return rate, share, statistics.median(times) * 1e6


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured: rates per second, times in microseconds."""

    one: float
    many: float
    flush: float
    rate: float
    share: float
    lonely: float

    @property
    def gain(self) -> float:
        """How many times the driver's one row a commit is reached."""
        return self.rate / self.one

    @property
    def delay(self) -> float:
        """How much longer a lonely write takes than the driver's own."""
        return self.lonely * self.one / 1e6


async def rounds(
    store: SqlStore, folder: Path, write: Callable[[], Awaitable[Any]]
) -> list[Round]:
    """Measure one kind of write, each time beside its anchors."""
    found = []
    for _ in range(ROUNDS):
        flushed = flush(folder)
        one, many = anchor(store.database, 1), anchor(store.database, WRITERS)
        rate, share, _ = await writing(store, WRITERS, write)
        _, _, lonely = await writing(store, 1, write)
        found.append(Round(one, many, flushed, rate, share, lonely))
    return found


def lines(what: str, found: list[Round]) -> list[Line]:
    """Make the lines of one kind of write."""
    best = sorted(found, key=lambda each: each.gain)[len(found) // 2]
    alone = sorted(found, key=lambda each: each.delay)[len(found) // 2]
    reached = best.many / best.one
    return [
        Line(
            id="P3",
            what=f"{what}, {WRITERS} writers",
            value=best.rate,
            unit="writes/s",
            anchor="driver, 1 message a commit",
            anchor_value=best.one,
            goal=">= 8",
            note=f"{best.share:.0f} a commit; driver with {WRITERS} rows a commit: "
            f"{reached:.1f}; flush {best.flush:.0f} µs",
            details={"rounds": [asdict(each) for each in found]},
        ),
        Line(
            id="P3",
            what=f"{what}, a lonely one",
            value=alone.lonely,
            unit="µs",
            anchor="driver, 1 message",
            anchor_value=1e6 / alone.one,
            goal="<= 2 flushes",
            note=f"flush {alone.flush:.0f} µs",
        ),
    ]


async def measured(url: str, name: str, folder: Path) -> list[Line]:
    """Measure one database."""
    store = SqlStore(url, reactor, Secrets(b"k" * 32), time.time_ns)
    await store.open()
    writes: dict[str, Callable[[], Awaitable[Any]]] = {
        "add_message": lambda: store.add_message(message()),
        "add_message with quota": lambda: store.add_message(message(), _LIMITS),
        "save_registration": lambda: store.save_registration(registration()),
    }
    found = []
    for what, write in writes.items():
        found += lines(f"{name}: {what}", await rounds(store, folder, write))
    await store.close()
    return found


@contextlib.contextmanager
def databases(folder: Path) -> Iterator[list[tuple[str, str]]]:
    """Give the URLs and names of fresh databases."""
    server = Durable(folder / "postgres.log")
    server.start()
    try:
        yield [
            (f"sqlite:///{folder}/gateway.db", "SQLite"),
            (server.url, "PostgreSQL"),
        ]
    finally:
        server.end()


def measure() -> list[Line]:
    """Measure both databases."""
    with tempfile.TemporaryDirectory(prefix="imps-bench-", dir="/var/tmp") as name:
        with databases(Path(name)) as found:
            measured_lines: list[Line] = []

            async def every() -> None:
                for url, title in found:
                    measured_lines.extend(await measured(url, title, Path(name)))

            failures: list[Any] = []
            # A Twisted reactor runs once a process.
            Deferred.fromCoroutine(every()).addErrback(failures.append).addBoth(
                lambda _: reactor.stop()
            )
            reactor.run()
            if failures:
                failures[0].raiseException()
            return measured_lines
