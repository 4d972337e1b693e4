"""The load generator: keep-alive POSTs with prepared bytes, over raw epoll.

Run as a program: a job in JSON on standard input, the outcome in JSON on standard
output. A fixed number of requests is in flight at any time, spread in turn over the
connections; each carries a number of its own in place of ``SLOT``.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from array import array
from collections import deque
from typing import Any

SLOT = "@@@@@@@@"
"""Stands in a request where its number goes: as many digits as this has letters."""


class Line:
    """One keep-alive connection and the two halves of its request."""

    __slots__ = ("after", "before", "buffer", "sent", "socket")

    def __init__(self, address: tuple[str, int], request: str) -> None:
        before, _, after = request.partition(SLOT)
        self.before, self.after = before.encode("latin-1"), after.encode("latin-1")
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.buffer = b""
        self.sent = 0.0


def whole(data: bytes) -> bool:
    """Tell whether a reply is complete: every reply has a Content-Length."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    start = data.find(b"ontent-Length: ", 0, end)
    if start < 0:
        start = data.find(b"ontent-length: ", 0, end)
    return len(data) >= end + 4 + int(data[start + 15 : data.find(b"\r", start)])


class Load:
    """One run over a set of connections."""

    def __init__(self, job: dict[str, Any]) -> None:
        address = (job["host"], job["port"])
        self._lines = [Line(address, request) for request in job["requests"]]
        self._in_flight = min(job["in_flight"], len(self._lines))
        self._number: int = job["first_number"]
        self._needed = [text.encode("latin-1") for text in job["needed"]]
        self._poll = select.epoll()
        self._by_handle = {line.socket.fileno(): line for line in self._lines}
        for handle in self._by_handle:
            self._poll.register(handle, select.EPOLLIN)
        self._idle = deque(self._lines)
        self._busy = 0
        self.errors = 0
        self.first_error = ""

    def _send(self) -> None:
        line = self._idle.popleft()
        self._number += 1
        data = b"%b%08d%b" % (line.before, self._number, line.after)
        line.sent = time.perf_counter()
        line.socket.send(data)
        self._busy += 1

    def run(self, seconds: float) -> tuple[float, array[float]]:
        """Keep the requests in flight for so long, then let the last come home."""
        times = array("d")
        begun = time.perf_counter()
        end = begun + seconds
        while self._busy < self._in_flight:
            self._send()
        while self._busy:
            events = self._poll.poll(10)
            if not events:
                raise TimeoutError("no reply for ten seconds")
            for handle, _ in events:
                line = self._by_handle[handle]
                data = line.socket.recv(65536)
                if not data:
                    raise ConnectionError("the server closed a connection")
                if line.buffer:
                    data = line.buffer + data
                if not whole(data):
                    line.buffer = data
                    continue
                line.buffer = b""
                now = time.perf_counter()
                times.append(now - line.sent)
                self._busy -= 1
                self._check(data)
                self._idle.append(line)
                if now < end:
                    self._send()
        return time.perf_counter() - begun, times

    def _check(self, data: bytes) -> None:
        for needed in self._needed:
            if needed not in data:
                self.errors += 1
                self.first_error = self.first_error or data.decode("latin-1")


def main() -> None:
    """Warm up, measure, report."""
    load = Load(job := json.load(sys.stdin))
    _, warming = load.run(job["warm_up"])
    elapsed, times = load.run(job["seconds"])
    ordered = sorted(times)
    count = len(ordered)
    outcome = {
        "count": count,
        "total": count + len(warming),
        "rate": count / elapsed,
        "p50_ms": ordered[count // 2] * 1e3,
        "p99_ms": ordered[count * 99 // 100] * 1e3,
        "errors": load.errors,
        "first_error": load.first_error,
    }
    json.dump(outcome, sys.stdout)


if __name__ == "__main__":
    main()
