"""SIP over UDP and TCP: framing, connection reuse, keep-alive.

RFC 3261 18 (transport), RFC 3581 (rport), RFC 5626 3.5.1 (keep-alive on streams).
Messages go to and come from the user agent; which hop they go to is decided there.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet import defer, endpoints, error, protocol
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import optionsForClientTLS
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.config import Sip
from gateway.configtable import Endpoint
from gateway.errors import ConfigError, Malformed
from gateway.igateway import IBinding, IGateway, ILink, IUserAgent
from gateway.log import Complaints, Logger
from gateway.sip.message import (
    KeepAlive,
    Request,
    Response,
    SipMalformed,
    StreamParser,
    parse,
)
from gateway.sip.transaction import Hop

CONNECTIONS = 1024
"""Inbound and outbound streams together; the longest idle one gives way."""
IDLE = 600.0
"""Seconds without a byte after which a stream is closed."""
SWEEP = 10.0
CONNECTING = 10.0
UNSENT = 1 << 20
"""Bytes that may wait for a peer that does not read."""
_RECEIVE_BUFFER = 4 << 20
"""Bytes of datagrams that may wait for us; Linux gives net.core.rmem_max at most."""
_READ_AT_ONCE = 1 << 20
"""Bytes of a stream that one turn of the reactor takes."""
_NAMES = 256
_NAME_LIFE = 60.0
_SOURCES = 1024
# One datagram is lost; whatever else is under way there goes on.
_LOST = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE, errno.EPERM})
HALF = 32.0
"""Seconds in which a message on a stream must have come whole."""


class Names:
    """Resolves host names off the reactor thread, remembering for a minute."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def known(self, host: str) -> str | None:
        """Give the address of a host when it needs no asking."""
        at, address = self._known.get(host, (0.0, ""))
        if at > self._reactor.seconds():
            return address
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return None
        return self._learnt(host, host)

    def resolve(self, host: str) -> defer.Deferred[str]:
        """Ask for the address of a host; fails with a DNS error."""
        d: defer.Deferred[str] = self._reactor.resolve(host)
        return d.addCallback(self._learnt, host)

    def _learnt(self, address: str, host: str) -> str:
        self._known[host] = (self._reactor.seconds() + _NAME_LIFE, address)
        while len(self._known) > _NAMES:
            self._known.popitem(last=False)
        return address


def local_address(interface: str, remote: str) -> str:
    """Give the address by which a remote host reaches us, for a wildcard listener."""
    if interface not in ("", "0.0.0.0"):
        return interface
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))  # sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


@implementer(ILink)
class UdpLink(protocol.DatagramProtocol):
    """One UDP listener."""

    noisy = False
    transport: Any

    def __init__(self, ua: IUserAgent, names: Names, complaints: Complaints) -> None:
        self._ua = ua
        self._names = names
        self._complaints = complaints
        self._sent_by: dict[str, str] = {}
        self.interface = ""
        self.port = 0

    def startProtocol(self) -> None:
        """Note under which address we are reached."""
        host = self.transport.getHost()
        self.interface, self.port = host.host, host.port
        # The system's own room takes a burst of some hundred messages; what has none
        # is lost and comes again only after half a second. It gives what it allows.
        self.transport.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER
        )
        # All that has come is read in one turn of the reactor: so overload shows there,
        # where it is answered, and not as a queue in the system that nobody sees.
        self.transport.maxThroughput = 2 * _RECEIVE_BUFFER

    def sent_by(self, hop: Hop) -> str:
        """Give our host:port as a hop sees it; see ``ILink``."""
        known = self._sent_by.get(hop.host)
        if known is None:
            known = f"{local_address(self.interface, hop.host)}:{self.port}"
            if len(self._sent_by) < _SOURCES:
                self._sent_by[hop.host] = known
        return known

    def send(self, hop: Hop, data: bytes) -> None:
        """Send one datagram; see ``ILink``."""
        address = self._names.known(hop.host)
        if address is not None:
            self._write(hop, address, data)
            return
        d = self._names.resolve(hop.host)
        d.addCallbacks(
            lambda found: self._write(hop, found, data),
            lambda failure: self._ua.transport_failed(hop, "the name is not known"),
        )

    def _write(self, hop: Hop, address: str, data: bytes) -> None:
        if self.transport is None:
            return
        try:
            # The transport would check the address once more with every datagram.
            self.transport.socket.sendto(data, (address, hop.port))
        except BlockingIOError:
            pass  # no room in the socket: lost like any datagram, and sent again
        except OSError as cause:
            if cause.errno not in _LOST:
                self._ua.transport_failed(hop, cause.strerror or "not sent")

    def datagramReceived(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take one datagram: a message, or a keep-alive that is ignored."""
        source = Hop("udp", addr[0], addr[1])
        if not data.strip(b"\r\n\0"):
            return
        try:
            message = parse(data)
        except Malformed as cause:
            _complain(self._complaints, source, cause)
            _answer(self._ua, cause, source)
            return
        self._ua.received(message, source)


def _complain(complaints: Complaints, source: Hop, cause: Malformed) -> None:
    text = "no SIP from {host}: {cause}"
    complaints.about(source.host, text, host=source.host, cause=str(cause))


def _answer(ua: IUserAgent, cause: Malformed, source: Hop) -> None:
    """Answer what could be read of a faulty request; ACK has no answer."""
    if isinstance(cause, SipMalformed) and cause.request is not None:
        if cause.request.method != "ACK":
            ua.refused(cause.request, source, cause.status, "")


class SipStream(protocol.Protocol):
    """One TCP (or TLS) connection, whoever opened it."""

    transport: Any

    def __init__(self, link: StreamLink) -> None:
        self._link = link
        self._parser = StreamParser()
        self.hop: Hop | None = None
        self.heard = 0.0
        self.whole = 0.0
        """When the last message was complete."""
        self._began = 0.0
        self._dead = False

    def connectionMade(self) -> None:
        """Become the connection to that peer."""
        peer = self.transport.getPeer()
        self.transport.setTcpNoDelay(True)
        self.transport.bufferSize = _READ_AT_ONCE
        self.hop = self.hop or Hop(self._link.transport, peer.host, peer.port)
        self._link.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Cut the stream into messages."""
        if self._dead:
            return  # closing; where another message would begin is unknown
        now = self.heard = self._link.seconds()
        assert self.hop is not None
        if not self._parser.half:
            self._began = now
        try:
            while True:
                found = self._parser.feed(data)
                if found:
                    self.whole = self._began = now
                self._take(found)
                if self._parser.fault is None:
                    return
                data = b""
        except Malformed as cause:
            self._dead = True
            _complain(self._link.complaints, self.hop, cause)
            _answer(self._link.ua, cause, self.hop)
            self.transport.loseConnection()

    def _take(self, found: list[Request | Response | KeepAlive]) -> None:
        assert self.hop is not None
        asked = False
        for message in found:
            if isinstance(message, KeepAlive):
                asked = True
            else:
                self._link.ua.received(message, self.hop)
        if asked:
            self.write(b"\r\n")  # one answer to a burst of them

    def overdue(self, now: float) -> bool:
        """Tell whether the peer is idle, or holds half a message back."""
        if now - self.heard > IDLE:
            return True
        return self._parser.half and now - self._began > HALF

    def write(self, data: bytes) -> None:
        """Send; a peer that does not read is dropped."""
        unsent = len(getattr(self.transport, "_tempDataBuffer", ()) or ())
        self.transport.write(data)
        if unsent and self.pending() > UNSENT:
            self.transport.abortConnection()

    def pending(self) -> int:
        """Give the bytes that wait in the transport."""
        waiting = getattr(self.transport, "dataBuffer", b"")
        queued = getattr(self.transport, "_tempDataLen", 0)
        return len(waiting) + int(queued)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """Tell whoever waits for an answer on it."""
        self._link.closed(self)


@implementer(ILink)
class StreamLink(protocol.ServerFactory):
    """All streams of one transport, by the peer's address."""

    noisy = False
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        transport: str,
        ua: IUserAgent,
        names: Names,
        complaints: Complaints,
    ) -> None:
        self._reactor = reactor
        self.transport = transport
        self.ua = ua
        self._names = names
        self.complaints = complaints
        self.seconds = reactor.seconds
        self._streams: dict[Hop, SipStream] = {}
        self._connecting: dict[Hop, list[bytes]] = {}
        self._call: IDelayedCall | None = None
        self._stopped = False
        self.interface = ""
        self.port = 0
        self.trust: Callable[[str], IOpenSSLClientConnectionCreator]
        self.trust = optionsForClientTLS

    def buildProtocol(self, addr: object) -> SipStream | None:
        """Take a connection, if there is room once idle ones are gone."""
        if len(self._streams) >= CONNECTIONS:
            # Aborted, because a peer that does not read would never be closed.
            oldest = min(self._streams.values(), key=lambda s: s.whole)
            oldest.transport.abortConnection()
            self.closed(oldest)
        return SipStream(self)

    def sent_by(self, hop: Hop) -> str:
        """Give our host:port as a hop sees it; see ``ILink``."""
        return f"{local_address(self.interface, hop.host)}:{self.port}"

    def send(self, hop: Hop, data: bytes) -> None:
        """Send on the connection to that hop, opened if there is none."""
        stream = self._streams.get(hop)
        if stream is not None:
            stream.write(data)
        elif hop in self._connecting:
            waiting = self._connecting[hop]
            if sum(map(len, waiting)) < UNSENT:
                waiting.append(data)
        elif not self._stopped:
            self._connecting[hop] = [data]
            endpoint: IStreamClientEndpoint = endpoints.HostnameEndpoint(
                self._reactor, hop.host, hop.port, timeout=CONNECTING
            )
            if self.transport == "tls":
                # The certificate must be of the name (or address) that was configured.
                endpoint = endpoints.wrapClientTLS(self.trust(hop.host), endpoint)
            factory = protocol.Factory.forProtocol(lambda: self._outbound(hop))
            factory.noisy = False
            d = endpoint.connect(factory)
            d.addErrback(self._unconnected, hop)

    def _outbound(self, hop: Hop) -> SipStream:
        stream = SipStream(self)
        stream.hop = hop
        return stream

    def _unconnected(self, failure: Failure, hop: Hop) -> None:
        self._connecting.pop(hop, None)
        self.ua.transport_failed(hop, failure.getErrorMessage())

    def opened(self, stream: SipStream) -> None:
        """Send what waited for this connection."""
        assert stream.hop is not None
        if self._stopped:
            stream.transport.abortConnection()
            return
        stream.heard = stream.whole = self.seconds()
        self._streams[stream.hop] = stream
        for data in self._connecting.pop(stream.hop, ()):
            stream.write(data)
        if self._call is None:
            self._call = self._reactor.callLater(SWEEP, self._sweep)

    def closed(self, stream: SipStream) -> None:
        """Forget a connection."""
        if stream.hop is not None and self._streams.get(stream.hop) is stream:
            del self._streams[stream.hop]
            if not self._stopped:
                self.ua.transport_failed(stream.hop, "the connection was lost")

    def _sweep(self) -> None:
        self._call = None
        now = self.seconds()
        for stream in [s for s in self._streams.values() if s.overdue(now)]:
            stream.transport.abortConnection()
        if self._streams:
            self._call = self._reactor.callLater(SWEEP, self._sweep)

    def stop(self) -> None:
        """Close every connection."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None
        for stream in tuple(self._streams.values()):
            stream.transport.loseConnection()


class SipService(Service):
    """Owns the SIP listeners; ``addresses`` holds what was opened."""

    _log = Logger()

    def __init__(self, reactor: Any, config: Sip, gateway: IGateway) -> None:
        self._reactor = reactor
        self._config = config
        self._gateway = gateway
        self._complaints = Complaints(self._log, reactor)
        self._ports: list[Any] = []
        self._streams: list[StreamLink] = []
        self.addresses: list[tuple[str, str, int]] = []

    def startService(self) -> None:
        """Open every listener; raises ConfigError when one cannot be had."""
        super().startService()
        names, complaints = Names(self._reactor), self._complaints
        ua = self._gateway.ua
        for endpoint in self._config.listen:
            link: UdpLink | StreamLink
            if endpoint.transport == "udp":
                link = UdpLink(ua, names, complaints)
            else:
                link = StreamLink(
                    self._reactor, endpoint.transport, ua, names, complaints
                )
                self._streams.append(link)
            port = self._listen(endpoint, link)
            host = port.getHost()
            link.interface, link.port = host.host, host.port
            self._ports.append(port)
            self.addresses.append((endpoint.transport, host.host, host.port))
            ua.attach(endpoint.transport, link)

    def _listen(self, endpoint: Endpoint, link: Any) -> Any:
        try:
            if isinstance(link, UdpLink):
                return self._reactor.listenUDP(
                    endpoint.port, link, endpoint.interface, maxPacketSize=65535
                )
            server = endpoints.serverFromString(self._reactor, endpoint.text)
            opened: list[Any] = []
            server.listen(link).addBoth(opened.append)
            if isinstance(opened[0], Failure):
                opened[0].raiseException()
            return opened[0]
        except error.CannotListenError as fault:
            reason = f"cannot listen on {endpoint.text}: {fault.socketError}"
            raise ConfigError("sip.listen", reason) from None

    def stopService(self) -> defer.Deferred[Any]:
        """Close listeners and connections."""
        super().stopService()
        self._complaints.stop()
        for link in self._streams:
            link.stop()
        ports, self._ports = self._ports, []
        closed = [defer.maybeDeferred(port.stopListening) for port in ports]
        return defer.DeferredList(closed, consumeErrors=True)


@implementer(IPlugin, IBinding)
class SipBinding:
    """SIP towards the core: the binding behind the ``[sip]`` section."""

    type = "sip"

    def parseConfig(self, table: dict[str, Any], path: str) -> object:
        """Refuse: SIP is configured in its own section."""
        raise ValueError("SIP is configured in [sip]")

    def makeService(self, reactor: Any, config: Any, gateway: IGateway) -> SipService:
        """Make the service that owns the SIP listeners."""
        return SipService(reactor, config, gateway)

    def describe(self, config: Any) -> list[str]:
        """Name the listeners."""
        return [f"SIP {_shown(endpoint)}" for endpoint in config.listen]


def _shown(endpoint: Endpoint) -> str:
    return f"{endpoint.transport}:{endpoint.interface or '*'}:{endpoint.port}"


sip = SipBinding()
