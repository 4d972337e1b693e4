"""A gateway for bindings under test: it records what it was asked, and can wait."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from gateway.igateway import Peer, Reply
from plugins._http_connection import HttpConnection
from plugins.http import Front, parse_config

XML = "application/vnd.wv.csp.xml"
POST = b"POST /csp HTTP/1.1\r\nHost: gw\r\nContent-Type: application/vnd.wv.csp.xml\r\n"


def post(body: bytes = b"<a/>", headers: bytes = b"") -> bytes:
    """Write one ordinary POST."""
    return POST + b"%bContent-Length: %d\r\n\r\n%b" % (headers, len(body), body)


class SapDouble:
    """Answers each body with ``outcome``, or with the body itself when that is None.

    With ``hold`` set, each exchange waits for its Deferred in ``held``.
    """

    def __init__(self) -> None:
        self.exchanged: list[tuple[str, bytes, Peer]] = []
        self.lost: list[Reply] = []
        self.outcome: Reply | Exception | None = None
        self.hold = False
        self.held: list[Deferred[Reply]] = []

    async def exchange(self, content_type: str, body: bytes, peer: Peer) -> Reply:
        self.exchanged.append((content_type, body, peer))
        if self.hold:
            waiting: Deferred[Reply] = Deferred()
            self.held.append(waiting)
            return await waiting
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Reply(content_type, body) if self.outcome is None else self.outcome

    def opens_session(self, content_type: str, body: bytes) -> bool:
        return b"Login" in body

    def unwritten(self, reply: Reply) -> None:
        self.lost.append(reply)

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body, _ in self.exchanged]


@dataclass
class GatewayDouble:
    """The part of IGateway that a data channel binding uses."""

    sap: SapDouble = field(default_factory=SapDouble)
    ua: Any = None
    config: Any = None


class Bench:
    """A front on a clock, with connections over string transports."""

    def __init__(self, **table: Any) -> None:
        self.clock = Clock()
        self.gateway = GatewayDouble()
        self.sap = self.gateway.sap
        config = parse_config({"type": "csp-http", **table}, "binding[1]")
        self.front = Front(self.clock, config, self.gateway)  # type: ignore[arg-type]

    def connect(
        self, address: str = "192.0.2.1"
    ) -> tuple[HttpConnection, StringTransport]:
        connection = self.front.buildProtocol(None)
        transport = StringTransport(
            peerAddress=IPv4Address("TCP", address, 4711), lenient=True
        )
        connection.makeConnection(transport)
        return connection, transport

    def advance(self, seconds: float) -> None:
        """Let time pass and sweep, as the service does each second."""
        self.clock.advance(seconds)
        self.front.sweep()


@dataclass
class Answer:
    """One HTTP reply as read off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


def answers(data: bytes, *, heads_only: bool = False) -> list[Answer]:
    """Split replies by hand: independent of the parser under test."""
    found = []
    while data:
        head, blank, data = data.partition(b"\r\n\r\n")
        assert blank, head
        line, *fields = head.decode("latin-1").split("\r\n")
        assert line.startswith("HTTP/1.1 "), line
        headers = {}
        for item in fields:
            name, colon, value = item.partition(": ")
            assert colon and name.lower() not in headers, item
            headers[name.lower()] = value
        status = int(line.split(" ")[1])
        length = 0
        if status >= 200:
            length = int(headers["content-length"])
        body = b"" if heads_only else data[:length]
        assert heads_only or len(body) == length
        data = data[len(body) :]
        found.append(Answer(status, headers, body))
    return found


def statuses(transport: StringTransport) -> list[int]:
    """Read the statuses written so far, and forget them."""
    found = [answer.status for answer in answers(transport.value())]
    transport.clear()
    return found


def receive(sock: socket.socket, count: int = 1) -> list[Answer]:
    """Read that many replies from a socket, or what there is before its end."""
    sock.settimeout(10)
    data = b""
    while True:
        if data.endswith(b"\r\n\r\n") or b"\r\n\r\n" in data:
            try:
                found = answers(data)
            except (AssertionError, KeyError):
                found = []
            if len(found) >= count:
                return found
        more = sock.recv(65536)
        if not more:
            return answers(data)
        data += more
