"""The SIP transports: framing byte by byte, reuse, limits, and what faulty peers do."""

from __future__ import annotations

import errno
import gc
import socket
from typing import Any

import pytest
from twisted.internet import reactor as real
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from gateway.config import Sip
from gateway.configtable import Endpoint
from gateway.errors import ConfigError
from gateway.igateway import IUserAgent
from gateway.log import Complaints, Logger
from gateway.sip.message import Request, Response
from gateway.sip.transaction import Hop
from plugins import sip as plugin
from plugins.sip import Names, SipService, SipStream, StreamLink, UdpLink

MESSAGE = (
    b"MESSAGE sip:alice@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK1\r\n"
    b"From: <sip:bob@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"
    b"Call-ID: 1\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 5\r\n\r\nhello"
)
PEER = ("192.0.2.9", 40000)


@implementer(IUserAgent)
class AgentDouble:
    """Notes what a transport says to the user agent."""

    def __init__(self) -> None:
        self.messages: list[tuple[Request | Response, Hop]] = []
        self.refusals: list[tuple[Request, Hop, int]] = []
        self.failures: list[tuple[Hop, str]] = []
        self.links: dict[str, Any] = {}

    def received(self, message: Request | Response, source: Hop) -> None:
        self.messages.append((message, source))

    def refused(self, request: Request, source: Hop, status: int, reason: str) -> None:
        self.refusals.append((request, source, status))

    def transport_failed(self, hop: Hop, reason: str) -> None:
        self.failures.append((hop, reason))

    def attach(self, transport: str, link: Any) -> None:
        self.links[transport] = link


class Pipe(StringTransport):
    """A transport that can be set tcp options and says how it was closed."""

    def __init__(self, peer: tuple[str, int] = PEER) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", *peer))
        self.closed = ""
        self.dataBuffer = b""

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def loseConnection(self) -> None:
        self.closed = self.closed or "lost"

    def abortConnection(self) -> None:
        self.closed = "aborted"


class Streams:
    """A link with its clock and agent, and connections without sockets."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.agent = AgentDouble()
        names = Names(self.clock)
        complaints = Complaints(Logger(), self.clock)
        self.link = StreamLink(self.clock, "tcp", self.agent, names, complaints)

    def connect(
        self, port: int = PEER[1], host: str = PEER[0]
    ) -> tuple[SipStream, Pipe]:
        stream = self.link.buildProtocol(IPv4Address("TCP", host, port))
        assert stream is not None
        pipe = Pipe((host, port))
        stream.makeConnection(pipe)
        return stream, pipe


class StreamTests(SynchronousTestCase):
    """Streams without sockets, on a clock."""

    def setUp(self) -> None:
        self.streams = Streams()
        self.agent, self.link = self.streams.agent, self.streams.link
        self.clock = self.streams.clock

    def test_a_message_byte_by_byte(self) -> None:
        stream, _ = self.streams.connect()
        for byte in MESSAGE:
            stream.dataReceived(bytes([byte]))
        [(message, source)] = self.agent.messages
        self.assertEqual(message.body, b"hello")
        self.assertEqual(source, Hop("tcp", *PEER))

    def test_several_messages_in_one_read(self) -> None:
        stream, _ = self.streams.connect()
        stream.dataReceived(MESSAGE * 5 + MESSAGE[:20])
        self.assertEqual(len(self.agent.messages), 5)
        stream.dataReceived(MESSAGE[20:])
        self.assertEqual(len(self.agent.messages), 6)

    def test_a_burst_of_keep_alives_gets_one_answer(self) -> None:
        """A peer that does not read must not make us gather answers for it."""
        stream, pipe = self.streams.connect()
        stream.dataReceived(b"\r\n\r\n")
        self.assertEqual(pipe.value(), b"\r\n")
        stream.dataReceived(b"\r\n\r\n" * 1000)
        self.assertEqual(pipe.value(), b"\r\n\r\n")

    def test_messages_before_rubbish_count_and_what_follows_does_not(self) -> None:
        stream, pipe = self.streams.connect()
        stream.dataReceived(MESSAGE + b"rubbish\r\n\r\n" + MESSAGE)
        self.assertEqual(len(self.agent.messages), 1)
        self.assertEqual(pipe.closed, "lost")
        stream.dataReceived(MESSAGE)
        self.assertEqual(len(self.agent.messages), 1)
        self.assertEqual(self.agent.refusals, [])

    def test_a_faulty_request_is_refused_once(self) -> None:
        stream, pipe = self.streams.connect()
        faulty = MESSAGE.replace(b"CSeq: 1 MESSAGE", b"CSeq: 1 INVITE")
        stream.dataReceived(faulty)
        stream.dataReceived(faulty)
        [(request, source, status)] = self.agent.refusals
        self.assertEqual((request.method, status), ("MESSAGE", 400))
        self.assertEqual(source, Hop("tcp", *PEER))
        self.assertEqual(pipe.closed, "lost")

    def test_too_long_a_body_is_refused_before_it_comes(self) -> None:
        stream, pipe = self.streams.connect()
        length = b"Content-Length: 99999999"
        stream.dataReceived(MESSAGE.replace(b"Content-Length: 5", length)[:-5])
        self.assertEqual([status for _, _, status in self.agent.refusals], [513])
        self.assertEqual(pipe.closed, "lost")

    def test_an_endless_header_is_cut_off(self) -> None:
        stream, pipe = self.streams.connect()
        for _ in range(100):
            stream.dataReceived(b"X" * 1000)
        self.assertEqual(pipe.closed, "lost")

    def test_answers_go_back_on_the_connection(self) -> None:
        _, pipe = self.streams.connect()
        self.link.send(Hop("tcp", *PEER), b"SIP/2.0 200 OK\r\n\r\n")
        self.assertEqual(pipe.value(), b"SIP/2.0 200 OK\r\n\r\n")

    def test_a_lost_connection_fails_what_waits_on_it(self) -> None:
        stream, _ = self.streams.connect()
        stream.connectionLost()
        [(hop, _)] = self.agent.failures
        self.assertEqual(hop, Hop("tcp", *PEER))

    def test_an_idle_connection_is_closed(self) -> None:
        idle, idle_pipe = self.streams.connect(1)
        busy, busy_pipe = self.streams.connect(2)
        for _ in range(70):
            self.clock.advance(plugin.SWEEP)
            busy.dataReceived(b"\r\n\r\n")
        self.assertEqual(idle_pipe.closed, "aborted")
        self.assertEqual(busy_pipe.closed, "")

    def test_half_a_message_is_not_waited_for_long(self) -> None:
        """Drop by drop one keeps a connection fresh, but not a buffer."""
        stream, pipe = self.streams.connect()
        for byte in MESSAGE[:60]:
            stream.dataReceived(bytes([byte]))
            self.clock.advance(1.0)
        self.assertEqual(pipe.closed, "aborted")

    def test_a_message_may_take_its_time_within_the_limit(self) -> None:
        stream, pipe = self.streams.connect()
        self.clock.advance(plugin.HALF * 3)
        stream.dataReceived(MESSAGE[:100])
        self.clock.advance(plugin.HALF / 2)
        stream.dataReceived(MESSAGE[100:])
        self.clock.advance(plugin.HALF * 2)
        self.assertEqual(pipe.closed, "")
        self.assertEqual(len(self.agent.messages), 1)

    def test_at_the_limit_the_longest_silent_connection_gives_way(self) -> None:
        self.patch(plugin, "CONNECTIONS", 3)
        pipes = []
        for port in range(1, 4):
            pipes.append(self.streams.connect(port)[1])
            self.clock.advance(1.0)
        stream = self.link._streams[Hop("tcp", PEER[0], 1)]
        stream.dataReceived(MESSAGE)
        drip = self.link._streams[Hop("tcp", PEER[0], 2)]
        drip.dataReceived(b"M")  # half a message is no sign of life
        for port in range(4, 6):
            pipes.append(self.streams.connect(port)[1])
        self.assertEqual([p.closed for p in pipes], ["", "aborted", "aborted", "", ""])
        self.assertEqual(len(self.link._streams), 3)

    def test_a_peer_that_does_not_read_is_dropped(self) -> None:
        stream, pipe = self.streams.connect()
        pipe.dataBuffer = b"x" * (plugin.UNSENT + 1)
        pipe._tempDataBuffer = [b"x"]  # type: ignore[attr-defined]
        stream.write(b"y")
        self.assertEqual(pipe.closed, "aborted")

    def test_stopping_closes_and_fails_nothing(self) -> None:
        stream, pipe = self.streams.connect()
        self.link.stop()
        self.assertEqual(pipe.closed, "lost")
        stream.connectionLost()
        self.assertEqual(self.agent.failures, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_connection_after_stopping_is_refused(self) -> None:
        self.link.stop()
        _, pipe = self.streams.connect()
        self.assertEqual(pipe.closed, "aborted")


class SocketDouble:
    """A socket whose next datagrams fail as told."""

    def __init__(self, *faults: OSError | None) -> None:
        self.faults = list(faults)
        self.sent: list[tuple[bytes, Any]] = []
        self.options: list[tuple[int, int, int]] = []

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)  # type: ignore[arg-type]

    def sendto(self, data: bytes, address: Any) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        self.sent.append((data, address))


class DatagramPort:
    """What a datagram protocol sees of its port."""

    def __init__(self, *faults: OSError | None) -> None:
        self.socket = SocketDouble(*faults)

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", "127.0.0.1", 5062)


class DatagramTests(SynchronousTestCase):
    """Datagrams without sockets."""

    HOP = Hop("udp", "127.0.0.1", 5060)

    def link(self, *faults: OSError | None) -> UdpLink:
        self.clock = Clock()
        self.agent = AgentDouble()
        link = UdpLink(self.agent, Names(self.clock), Complaints(Logger(), self.clock))
        port: Any = DatagramPort(*faults)
        link.makeConnection(port)
        return link

    def test_a_datagram_is_one_message(self) -> None:
        self.link().datagramReceived(MESSAGE + b"trailing", PEER)
        [(message, source)] = self.agent.messages
        self.assertEqual((message.body, source), (b"hello", Hop("udp", *PEER)))

    def test_there_is_room_for_a_burst(self) -> None:
        """A core sends what waited for one restart within a few milliseconds."""
        port: Any = self.link().transport
        [(level, option, room)] = port.socket.options
        self.assertEqual((level, option), (socket.SOL_SOCKET, socket.SO_RCVBUF))
        self.assertGreaterEqual(room, 1000 * len(MESSAGE))

    def test_keep_alives_are_ignored(self) -> None:
        link = self.link()
        for data in (b"", b"\r\n\r\n", b"\0", b"\0\0\0\0"):
            link.datagramReceived(data, PEER)
        self.assertEqual(self.agent.messages, [])
        self.assertEqual(self.agent.refusals, [])

    def test_rubbish_is_dropped_and_a_faulty_request_answered(self) -> None:
        link = self.link()
        link.datagramReceived(b"GET / HTTP/1.1\r\n\r\n", PEER)
        link.datagramReceived(MESSAGE[:-5], PEER)
        link.datagramReceived(b"\xff" * 1000, PEER)
        self.assertEqual(self.agent.messages, [])
        self.assertEqual([status for _, _, status in self.agent.refusals], [400])

    def test_a_faulty_ack_is_not_answered(self) -> None:
        self.link().datagramReceived(MESSAGE.replace(b"MESSAGE", b"ACK")[:-5], PEER)
        self.assertEqual(self.agent.refusals, [])

    def test_what_one_datagram_suffers_is_its_own_matter(self) -> None:
        """A full buffer must not end every transaction that waits at the core."""
        numbers = (errno.EAGAIN, errno.ENOBUFS, errno.EMSGSIZE, errno.EPERM)
        link = self.link(*[OSError(number, "x") for number in numbers])
        for _ in numbers:
            link.send(self.HOP, b"x")
        self.assertEqual(self.agent.failures, [])

    def test_a_hop_that_cannot_be_reached_fails(self) -> None:
        link = self.link(OSError(errno.ENETUNREACH, "Network is unreachable"))
        link.send(self.HOP, b"x")
        self.assertEqual(self.agent.failures, [(self.HOP, "Network is unreachable")])

    def test_after_the_end_nothing_is_sent(self) -> None:
        link = self.link()
        link.transport = None
        link.send(self.HOP, b"x")
        self.assertEqual(self.agent.failures, [])


class NameTests(SynchronousTestCase):
    """Names of cores are asked for off the path, and remembered."""

    def test_a_name_is_asked_for_once_a_minute(self) -> None:
        clock = Clock()
        asked: list[Deferred[str]] = []

        def resolve(host: str) -> Deferred[str]:
            asked.append(Deferred())
            return asked[-1]

        clock.resolve = resolve  # type: ignore[attr-defined]
        agent = AgentDouble()
        link = UdpLink(agent, Names(clock), Complaints(Logger(), clock))
        port: Any = DatagramPort()
        link.makeConnection(port)
        hop = Hop("udp", "core.example.com", 5060)
        link.send(hop, b"1")
        asked[0].callback("192.0.2.1")
        link.send(hop, b"2")
        self.assertEqual(len(asked), 1)
        address = ("192.0.2.1", 5060)
        self.assertEqual(port.socket.sent, [(b"1", address), (b"2", address)])
        clock.advance(61)
        link.send(hop, b"3")
        asked[1].errback(OSError("no such host"))
        self.assertEqual(agent.failures, [(hop, "the name is not known")])


@pytest.mark.parametrize("interface", ["0.0.0.0", ""])
def test_a_wildcard_listener_names_the_address_that_faces_the_peer(interface):
    assert plugin.local_address(interface, "127.0.0.1") == "127.0.0.1"
    assert plugin.local_address("192.0.2.7", "127.0.0.1") == "192.0.2.7"


class GatewayDouble:
    """The part of IGateway that the SIP binding uses."""

    def __init__(self) -> None:
        self.ua = AgentDouble()


def settings(*listen: str) -> Sip:
    return Sip(
        listen=tuple(Endpoint.parse(text) for text in listen),
        core=(),
        embedded=False,
        trusted=(),
        domain="example.com",
        expires=3600,
        core_memory=30.0,
    )


class SocketTests(TestCase):
    """Real sockets on the loopback interface."""

    timeout = 10

    def setUp(self) -> None:
        self.gateway = GatewayDouble()
        loopback = ":0:interface=127.0.0.1"
        config = settings(f"udp{loopback}", f"tcp{loopback}")
        self.service = SipService(real, config, self.gateway)  # type: ignore[arg-type]
        self.service.startService()
        self.addCleanup(self.service.stopService)

    async def until(self, condition: Any) -> None:
        while not condition():
            d: Deferred[None] = Deferred()
            real.callLater(0.005, d.callback, None)
            await d

    def test_both_listeners_are_announced(self) -> None:
        words = [transport for transport, _, port in self.service.addresses if port]
        self.assertEqual(words, ["udp", "tcp"])
        self.assertEqual(set(self.gateway.ua.links), {"udp", "tcp"})

    async def test_a_datagram_comes_and_an_answer_goes(self) -> None:
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(peer.close)
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        peer.sendto(MESSAGE, self.service.addresses[0][1:])
        await self.until(lambda: self.gateway.ua.messages)
        _, source = self.gateway.ua.messages[0]
        self.assertEqual(source.port, peer.getsockname()[1])
        self.gateway.ua.links["udp"].send(source, b"answer")
        received: list[bytes] = []

        def read() -> bool:
            try:
                received.append(peer.recv(100))
            except BlockingIOError:
                return False
            return True

        await self.until(read)
        self.assertEqual(received, [b"answer"])

    async def test_one_connection_serves_both_ways(self) -> None:
        peer = socket.create_connection(self.service.addresses[1][1:])
        self.addCleanup(peer.close)
        peer.setblocking(False)
        peer.send(MESSAGE)
        await self.until(lambda: self.gateway.ua.messages)
        _, source = self.gateway.ua.messages[0]
        link = self.gateway.ua.links["tcp"]
        link.send(source, b"one ")
        link.send(source, b"two")
        received = bytearray()

        def read() -> bool:
            try:
                received.extend(peer.recv(100))
            except BlockingIOError:
                pass
            return bytes(received) == b"one two"

        await self.until(read)
        self.assertEqual(len(link._streams), 1)
        peer.close()
        await self.until(lambda: self.gateway.ua.failures)
        self.assertEqual(self.gateway.ua.failures[0][0], source)

    async def test_a_connection_is_opened_once_for_what_waits(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        listener.setblocking(False)
        hop = Hop("tcp", "127.0.0.1", listener.getsockname()[1])
        link = self.gateway.ua.links["tcp"]
        link.send(hop, b"one ")
        link.send(hop, b"two")
        await self.until(lambda: hop in link._streams)
        accepted, _ = listener.accept()
        self.addCleanup(accepted.close)
        accepted.setblocking(False)
        received = bytearray()

        def read() -> bool:
            try:
                received.extend(accepted.recv(100))
            except BlockingIOError:
                pass
            return bytes(received) == b"one two"

        await self.until(read)
        accepted.send(MESSAGE)
        await self.until(lambda: self.gateway.ua.messages)
        self.assertEqual(self.gateway.ua.messages[0][1], hop)

    async def test_a_refused_connection_fails_the_hop(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            hop = Hop("tcp", "127.0.0.1", gone.getsockname()[1])
        self.gateway.ua.links["tcp"].send(hop, b"one")
        await self.until(lambda: self.gateway.ua.failures)
        self.assertEqual(self.gateway.ua.failures[0][0], hop)

    def test_a_port_that_is_taken_is_a_fault_of_the_configuration(self) -> None:
        for transport, _, port in self.service.addresses:
            config = settings(f"{transport}:{port}:interface=127.0.0.1")
            other = SipService(real, config, self.gateway)  # type: ignore[arg-type]
            with self.assertRaises(ConfigError) as caught:
                other.startService()
            self.assertEqual(caught.exception.path, "sip.listen")
        gc.collect()  # Twisted leaves the socket that it could not bind behind
        self.flushWarnings()
