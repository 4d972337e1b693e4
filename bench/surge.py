"""Load at a rate that does not ask whether the service keeps up."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.crowd import Ask
from bench.load import Line

_BUFFER = 8 * 1024 * 1024
_DATAGRAM = 65536
_T1 = 0.5
_WAIT = 2.0
"""Seconds for which answers are awaited when the load has ended."""
_STEP = 0.25


@dataclass(slots=True)
class Tally:
    """What became of the requests; times in milliseconds by outcome."""

    seconds: float
    begun: int = 0
    late: int = 0
    """Those that no connection was free for at their time."""
    silent: int = 0
    times: dict[str, list[float]] = field(
        default_factory=lambda: {"done": [], "refused": [], "other": []}
    )

    def note(self, outcome: str, seconds: float) -> None:
        """Count one answer."""
        self.times[outcome].append(seconds * 1e3)

    def at(self, outcome: str, percent: int) -> float:
        """Give a percentile of the times of an outcome; 0 when there was none."""
        ordered = sorted(self.times[outcome])
        return ordered[len(ordered) * percent // 100] if ordered else 0.0


class Surge:
    """Connections of handsets, or one socket of SIP requests, and their clock."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._lines: dict[int, Line] = {}
        self._idle: deque[Line] = deque()
        self._socket: socket.socket | None = None
        self._ask: Callable[[int], Ask] | None = None
        self._asked: dict[bytes, tuple[float, bytes]] = {}
        self._number = 50_000_000

    def line(self, port: int, request: str) -> None:
        """Add a connection on which one request after the other goes out."""
        line = Line(("127.0.0.1", port), request)
        self._lines[line.socket.fileno()] = line
        self._poll.register(line.socket.fileno(), select.EPOLLIN)
        self._idle.append(line)

    def datagrams(self, port: int, ask: Callable[[int], Ask]) -> None:
        """Send SIP requests instead."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._poll.register(self._socket.fileno(), select.EPOLLIN)
        self._ask = ask

    def close(self) -> None:
        """Close every connection."""
        for line in self._lines.values():
            line.socket.close()
        if self._socket is not None:
            self._socket.close()
        self._poll.close()

    def run(self, rate: float, seconds: float, often: Callable[[], None]) -> Tally:
        """Begin so many requests a second; ``often`` is called now and then."""
        tally = Tally(seconds)
        begun = now = time.perf_counter()
        looked = 0.0
        while now < begun + seconds:
            due = int((now - begun) * rate)
            while tally.begun + tally.late < due:
                self._begin(tally)
            self._take(tally, 0.001)
            now = time.perf_counter()
            if now - looked > _STEP:
                looked = now
                often()
        while self._waiting() and now < begun + seconds + _WAIT:
            self._take(tally, 0.05)
            now = time.perf_counter()
        tally.silent = self._waiting()
        return tally

    def _waiting(self) -> int:
        return len(self._asked) + len(self._lines) - len(self._idle)

    def _begin(self, tally: Tally) -> None:
        if self._socket is not None and self._ask is not None:
            tally.begun += 1
            ask = self._ask(self._socket.getsockname()[1])
            self._asked[ask.call_id] = (time.perf_counter(), ask.data)
            try:
                self._socket.send(ask.data)
            except BlockingIOError:
                pass
        elif self._idle:
            tally.begun += 1
            self._post(self._idle.popleft())
        else:
            tally.late += 1

    def _post(self, line: Line) -> None:
        self._number += 1
        line.sent = time.perf_counter()
        line.socket.send(b"%b%08d%b" % (line.before, self._number, line.after))

    def _take(self, tally: Tally, wait: float) -> None:
        for handle, _ in self._poll.poll(wait):
            now = time.perf_counter()
            line = self._lines.get(handle)
            if line is None:
                self._drain(tally)
                continue
            data = line.socket.recv(_DATAGRAM)
            if not data:
                raise ConnectionError("the server closed a connection")
            tally.note(_outcome(data), now - line.sent)
            self._idle.append(line)

    def _drain(self, tally: Tally) -> None:
        assert self._socket is not None
        while True:
            try:
                data = self._socket.recv(_DATAGRAM)
            except BlockingIOError:
                return
            start = data.find(b"Call-ID: ") + 9
            asked = self._asked.pop(data[start : data.find(b"\r\n", start)], None)
            if asked is not None:
                tally.note(_outcome(data), time.perf_counter() - asked[0])

    # -- afterwards

    def probe_http(self) -> float:
        """Give the seconds that one SendMessage takes to be done."""
        tally = Tally(0)
        self._post(self._idle.popleft())
        return self._until_done(tally)

    def probe_sip(self) -> float:
        """Give the seconds that one MESSAGE takes to be done."""
        tally = Tally(0)
        self._begin(tally)
        return self._until_done(tally)

    def _until_done(self, tally: Tally) -> float:
        end = time.perf_counter() + _T1
        while not tally.times["done"] and time.perf_counter() < end:
            self._take(tally, 0.01)
            if tally.times["refused"]:
                break
        done = tally.times["done"]
        return done[-1] / 1e3 if done else float("inf")


def _outcome(data: bytes) -> str:
    if data.startswith((b"SIP/2.0 20", b"HTTP/1.1 200")):
        if b"<Code>503</Code>" in data:
            return "refused"
        return "done" if b"<Code>200" in data or b"SIP/2.0" in data else "other"
    known = data.startswith((b"SIP/2.0 503", b"HTTP/1.1 503"))
    return "refused" if known else "other"
