"""A crowd of actors: handsets and SIP users that do one thing after the other.

An actor is a generator. It yields a `Post`, which goes out on its seat's keep-alive
connection, or an `Ask`, which goes out as a datagram, and is resumed with the whole
answer. Every seat has one actor at a time, and a new one as soon as that has ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

from bench.load import whole
from bench.processes import LOAD_CPU, Server

_PATIENCE = 30.0
_T1 = 0.5  # seconds (RFC 3261 17.1.1.1)
_DATAGRAM = 65536
_BUFFER = 8 * 1024 * 1024


class Post(NamedTuple):
    """A whole HTTP request."""

    data: bytes


class Ask(NamedTuple):
    """A SIP request; its answer is known by the Call-ID."""

    data: bytes
    call_id: bytes


Actor = Generator[Post | Ask, bytes, None]


class Seat:
    """One connection and the actor that uses it."""

    __slots__ = ("actor", "begun", "buffer", "number", "socket")

    def __init__(self, number: int, line: socket.socket | None) -> None:
        self.number = number
        self.socket = line
        self.buffer = b""
        self.actor: Actor | None = None
        self.begun = 0.0


class Crowd:
    """Seats towards one service; ``http`` and ``sip`` are its ports."""

    def __init__(self, size: int, *, http: int = 0, sip: int = 0) -> None:
        self._poll = select.epoll()
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._datagrams.bind(("127.0.0.1", 0))
        if sip:
            self._datagrams.connect(("127.0.0.1", sip))
        self._datagrams.setblocking(False)
        self._poll.register(self._datagrams.fileno(), select.EPOLLIN)
        self._seats: list[Seat] = []
        self._by_handle: dict[int, Seat] = {}
        self._asking: dict[bytes, tuple[Seat, bytes]] = {}
        self.repeated = 0
        """Datagrams sent again, because for half a second nobody was answered."""
        for number in range(size):
            line = None
            if http:
                line = socket.create_connection(("127.0.0.1", http), timeout=_PATIENCE)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._poll.register(line.fileno(), select.EPOLLIN)
            self._seats.append(Seat(number, line))
            if line is not None:
                self._by_handle[line.fileno()] = self._seats[-1]

    @property
    def port(self) -> int:
        """Whence the datagrams come."""
        return int(self._datagrams.getsockname()[1])

    def close(self) -> None:
        """Close every connection."""
        for seat in self._seats:
            if seat.socket is not None:
                seat.socket.close()
        self._datagrams.close()
        self._poll.close()

    def run(
        self, actors: Callable[[int], Actor | None], seconds: float = float("inf")
    ) -> tuple[float, list[float]]:
        """Let actors act for so long; the seconds it took, and those of each actor.

        ``actors`` gives a seat its next actor, None when there is none left. Actors
        that act at the end of the time come to their own end. Raises TimeoutError when
        nobody is answered for half a minute.
        """
        times: list[float] = []
        begun = time.perf_counter()
        end = begun + seconds
        acting = 0

        def seated(seat: Seat) -> int:
            seat.begun = time.perf_counter()
            seat.actor = actors(seat.number) if seat.begun < end else None
            if seat.actor is None:
                return 0
            self._do(seat, next(seat.actor))
            return 1

        for seat in self._seats:
            acting += seated(seat)
        while acting:
            answered = self._answers()
            for seat, answer in answered:
                assert seat.actor is not None
                try:
                    self._do(seat, seat.actor.send(answer))
                except StopIteration:
                    times.append(time.perf_counter() - seat.begun)
                    acting += seated(seat) - 1
        return time.perf_counter() - begun, times

    def _do(self, seat: Seat, deed: Post | Ask) -> None:
        if isinstance(deed, Post):
            assert seat.socket is not None
            seat.socket.sendall(deed.data)
        else:
            self._asking[deed.call_id] = (seat, deed.data)
            self._datagrams.send(deed.data)

    def _answers(self) -> list[tuple[Seat, bytes]]:
        events = self._poll.poll(_T1)
        silent = 0.0
        while not events:
            if (silent := silent + _T1) > _PATIENCE:
                raise TimeoutError("nobody is answered any more")
            for _, data in self._asking.values():
                self.repeated += 1
                self._datagrams.send(data)
            events = self._poll.poll(_T1)
        found: list[tuple[Seat, bytes]] = []
        for handle, _ in events:
            seat = self._by_handle.get(handle)
            if seat is None:
                found += self._drained()
                continue
            assert seat.socket is not None
            data = seat.socket.recv(_DATAGRAM)
            if not data:
                raise ConnectionError("the server closed a connection")
            seat.buffer += data
            if whole(seat.buffer):
                found.append((seat, seat.buffer))
                seat.buffer = b""
        return found

    def _drained(self) -> Iterator[tuple[Seat, bytes]]:
        while True:
            try:
                data = self._datagrams.recv(_DATAGRAM)
            except BlockingIOError:
                return
            start = data.find(b"Call-ID: ") + 9
            call_id = data[start : data.find(b"\r\n", start)]
            asking = self._asking.pop(call_id, None)
            if asking is not None:  # else a retransmission
                yield asking[0], data


@contextlib.contextmanager
def off_the_server() -> Iterator[None]:
    """Keep this process on the processor of the load while the block lasts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, LOAD_CPU)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measured(
    server: Server,
    crowd: Crowd,
    actors: Callable[[int], Actor | None],
    seconds: float = float("inf"),
) -> dict[str, Any]:
    """Run a crowd and say how fast it was, and what an actor cost the server."""
    used = server.cpu
    with off_the_server():
        elapsed, times = crowd.run(actors, seconds)
    ordered = sorted(times)
    count = len(ordered)
    return {
        "count": count,
        "rate": count / elapsed,
        "p50_ms": ordered[count // 2] * 1e3,
        "p99_ms": ordered[count * 99 // 100] * 1e3,
        "cpu_us": (server.cpu - used) / count * 1e6,
        "repeated": crowd.repeated,
    }


def middle(outcomes: Sequence[dict[str, Any]], key: str = "rate") -> dict[str, Any]:
    """Give the outcome that is the median by one of its figures."""
    value = statistics.median_low(outcome[key] for outcome in outcomes)
    return next(outcome for outcome in outcomes if outcome[key] == value)


def message(port: int, user: str, sender: str, domain: str, number: int) -> Ask:
    """Write a SIP MESSAGE of a hundred octets, as the core hands it on."""
    call_id = f"bench-{port}-{number}"
    text = ("The quick brown fox jumps over the lazy dog. " * 3)[:100]
    data = (
        f"MESSAGE sip:{user}@{domain} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{call_id};rport\r\n"
        "Max-Forwards: 69\r\n"
        f"From: <sip:{sender}@{domain}>;tag={number}\r\n"
        f"To: <sip:{user}@{domain}>\r\n"
        f"Call-ID: {call_id}\r\n"
        "CSeq: 1 MESSAGE\r\n"
        f"P-Asserted-Identity: <sip:{sender}@{domain}>\r\n"
        "Content-Type: text/plain;charset=UTF-8\r\n"
        f"Content-Length: {len(text)}\r\n\r\n{text}"
    )
    return Ask(data.encode(), call_id.encode())
