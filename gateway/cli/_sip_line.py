"""The SIP line of the terminal twin: one UDP port, or one connection to the core."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import (
    DatagramProtocol,
    Factory,
    Protocol,
    connectionDone,
)
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from gateway.cli._trust import trust_root
from gateway.config import Core
from gateway.errors import Unreachable
from gateway.sip.message import KeepAlive, Request, Response, StreamParser, parse
from gateway.sip.model import SipMalformed
from gateway.sip.transaction import Hop

_CONNECT_SECONDS = 10

Received = Callable[[Request | Response, Hop], None]
Lost = Callable[[str], None]


class Line:
    """What both lines are: ``send`` goes to ``hop``, ``local`` is our own address."""

    hop: Hop
    local: tuple[str, int]

    def send(self, data: bytes) -> None:
        """Send one message."""
        raise NotImplementedError

    def close(self) -> None:
        """Send nothing more and receive nothing more."""
        raise NotImplementedError


class UdpLine(DatagramProtocol, Line):
    """One UDP port of ours."""

    def __init__(self, hop: Hop, received: Received, lost: Lost) -> None:
        self.hop = hop
        self._received = received
        self._lost = lost

    def send(self, data: bytes) -> None:
        """Send one datagram to the core."""
        self.transport.write(data, (self.hop.host, self.hop.port))  # type: ignore[union-attr]

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Take one datagram; what is no SIP is dropped."""
        if not datagram.strip():
            return  # a keep-alive
        try:
            message = parse(datagram)
        except SipMalformed:
            return
        self._received(message, Hop("udp", addr[0], addr[1]))

    def close(self) -> None:
        """Close the port."""
        self.transport.stopListening()  # type: ignore[union-attr]


class StreamLine(Protocol, Line):
    """One connection to the core, over TCP or TLS."""

    def __init__(self, hop: Hop, received: Received, lost: Lost) -> None:
        self.hop = hop
        self._received = received
        self._lost = lost
        self._parser = StreamParser()
        self._closing = False

    def send(self, data: bytes) -> None:
        """Write one message to the connection."""
        self.transport.write(data)  # type: ignore[union-attr]

    def connectionMade(self) -> None:
        """Learn our own address, where the core answers on this connection."""
        host: Any = self.transport.getHost()  # type: ignore[union-attr]
        self.local = (host.host, host.port)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; a stream that is no SIP is closed."""
        try:
            found = self._parser.feed(data)
        except SipMalformed:
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        for message in found:
            if isinstance(message, KeepAlive):
                self.transport.write(b"\r\n")  # type: ignore[union-attr]
            else:
                self._received(message, self.hop)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell that the connection is gone, unless we closed it."""
        if not self._closing:
            why = "" if reason.check(ConnectionDone) else f": {reason.value}"
            self._lost(f"the connection was lost{why}")

    def close(self) -> None:
        """Close the connection."""
        self._closing = True
        self.transport.loseConnection()  # type: ignore[union-attr]


async def open_line(
    reactor: Any, core: Core, received: Received, lost: Lost, ca: Path | None = None
) -> Line:
    """Open the line to a core; raises Unreachable.

    ``ca`` names a PEM file with the certificate to trust instead of the system's.
    """
    if core.transport == "udp":
        try:
            hop = Hop("udp", _address(core.host), core.port)
            local = _own_address(hop)
        except OSError as error:
            raise Unreachable(f"{core.host}: {error.strerror}") from None
        udp = UdpLine(hop, received, lost)
        port = reactor.listenUDP(0, udp, interface=local)
        udp.local = (local, port.getHost().port)
        return udp
    endpoint: Any = HostnameEndpoint(
        reactor, core.host, core.port, timeout=_CONNECT_SECONDS
    )
    if core.transport == "tls":
        endpoint = wrapClientTLS(
            optionsForClientTLS(core.host, trustRoot=trust_root(ca)), endpoint
        )
    hop = Hop(core.transport, core.host, core.port)
    factory = Factory.forProtocol(lambda: StreamLine(hop, received, lost))
    try:
        stream: Line = await endpoint.connect(factory)
    except Exception as error:
        # Resolving, connecting and TLS each have errors of their own, without a root.
        raise Unreachable(f"no connection to {core}: {error}") from None
    return stream


def _address(host: str) -> str:
    """Give the address of a host; raises OSError."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        return str(found[0][4][0])


def _own_address(hop: Hop) -> str:
    """Give the address from which we reach a hop; nothing is sent for that."""
    family = socket.AF_INET6 if ":" in hop.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((hop.host, hop.port))
        return str(probe.getsockname()[0])
