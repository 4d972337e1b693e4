"""What the connections of one HTTP binding share: limits, redirects, peers, the log."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import Malformed
from gateway.igateway import Reply
from plugins._http_replies import NOT_FOUND
from plugins.http import HttpService, parse_config
from tests.plugins.doubles import XML, Bench, GatewayDouble, answers, post, statuses


class AdmissionTests(SynchronousTestCase):
    """Connections are bounded, in all and for each address."""

    def test_too_many(self) -> None:
        """Above max_connections the answer is 503 with Retry-After, at once."""
        bench = Bench(max_connections=2)
        kept = [bench.connect(f"192.0.2.{n}") for n in range(2)]
        connection, transport = bench.connect("192.0.2.9")
        [answer] = answers(transport.value())
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "10"))
        self.assertTrue(transport.disconnecting)
        connection.connectionLost(Failure(ConnectionDone()))
        kept[0][0].connectionLost(Failure(ConnectionDone()))
        again, transport = bench.connect("192.0.2.9")
        again.dataReceived(post())
        self.assertEqual(statuses(transport), [200])

    def test_far_too_many(self) -> None:
        """Those for whom even the refusal is too much are dropped."""
        bench = Bench(max_connections=1)
        transports = [bench.connect()[1] for _ in range(1 + 64 + 1)]
        self.assertTrue(transports[64].disconnecting)
        self.assertEqual(statuses(transports[64]), [503])
        self.assertTrue(transports[65].disconnected)
        self.assertEqual(transports[65].value(), b"")

    def test_one_address(self) -> None:
        """An address has a limit of its own; a trusted proxy has none."""
        bench = Bench(
            max_connections_per_address=1, trusted_proxies=["198.51.100.0/24"]
        )
        for address, status in (("192.0.2.1", [503]), ("198.51.100.1", [])):
            bench.connect(address)
            self.assertEqual(statuses(bench.connect(address)[1]), status)
        self.assertEqual(statuses(bench.connect("192.0.2.2")[1]), [])


class DrainTests(SynchronousTestCase):
    """A stop takes no new work and lets replies leave."""

    def test_drain(self) -> None:
        """The idle are closed; the one that waits for its reply gets it first."""
        bench = Bench()
        bench.sap.hold = True
        idle, idle_transport = bench.connect()
        busy, busy_transport = bench.connect()
        busy.dataReceived(post(b"1") + post(b"2"))
        drained = bench.front.drain()
        self.assertTrue(idle_transport.disconnecting)
        self.assertFalse(busy_transport.disconnecting)
        bench.sap.held[0].callback(Reply(XML, b"1"))
        [answer] = answers(busy_transport.value())
        self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
        self.assertTrue(busy_transport.disconnecting)
        self.assertNoResult(drained)
        for connection in (idle, busy):
            connection.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.successResultOf(drained))
        self.assertEqual(bench.sap.bodies, [b"1"])

    def test_the_end_of_patience(self) -> None:
        """What has not been answered after five seconds is cut off."""
        reactor = MemoryReactorClock()
        gateway = GatewayDouble()
        gateway.sap.hold = True
        config = parse_config({"type": "csp-http"}, "binding[1]")
        service = HttpService(reactor, config, gateway)  # type: ignore[arg-type]
        service.startService()
        factory = reactor.tcpServers[0][1]
        connection: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        transport = StringTransport(lenient=True)
        connection.makeConnection(transport)
        connection.dataReceived(post())
        stopped = service.stopService()
        reactor.advance(4.9)
        self.assertFalse(transport.disconnected)
        reactor.advance(0.2)
        self.assertTrue(transport.disconnected)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(reactor.getDelayedCalls(), [])


class RedirectTests(SynchronousTestCase):
    """Redirects touch a session's first POST only."""

    def answer(self, body: bytes, **table: Any) -> Any:
        bench = Bench(redirect="http://other.example.com:8080/imps", **table)
        connection, transport = bench.connect()
        connection.dataReceived(post(body))
        [answer] = answers(transport.value())
        return answer

    def test_only_the_first_post(self) -> None:
        """A login is sent on with 307; what belongs to a session is served here."""
        answer = self.answer(b"<Login-Request/>")
        self.assertEqual(answer.status, 307)
        self.assertEqual(
            answer.headers["location"], "http://other.example.com:8080/imps"
        )
        self.assertEqual(self.answer(b"<Polling-Request/>").status, 200)

    def test_permanent(self) -> None:
        """301 by the operator's wish, and no caching headers with either."""
        for status in (301, 307):
            answer = self.answer(b"<Login-Request/>", redirect_status=status)
            self.assertEqual(answer.status, status)
            self.assertFalse(
                {"cache-control", "expires", "pragma"} & set(answer.headers)
            )


class PeerTests(SynchronousTestCase):
    """Proxies are believed only where the operator trusts them."""

    def peer(self, headers: bytes, address: str = "10.0.0.1") -> Any:
        bench = Bench(trusted_proxies=["10.0.0.0/8"])
        connection, _ = bench.connect(address)
        connection.dataReceived(post(headers=headers))
        return bench.sap.exchanged[0][2]

    def test_nearest_untrusted_address(self) -> None:
        """What the client itself wrote to the left is not believed."""
        headers = b"X-Forwarded-For: 203.0.113.9, 192.0.2.7, 10.1.1.1\r\n"
        self.assertEqual(self.peer(headers).address, "192.0.2.7")
        split = b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 192.0.2.7\r\n"
        self.assertEqual(self.peer(split).address, "192.0.2.7")

    def test_wap_gateway(self) -> None:
        """The number and the address that a WAP gateway adds are taken."""
        peer = self.peer(
            b"X-WAP-Network-Client-IP: 192.0.2.8\r\nX-MSISDN: +358401234567\r\n"
        )
        self.assertEqual((peer.address, peer.msisdn), ("192.0.2.8", "+358401234567"))

    def test_not_trusted(self) -> None:
        """From anybody else such headers mean nothing."""
        peer = self.peer(
            b"X-Forwarded-For: 192.0.2.7\r\nX-MSISDN: +358401234567\r\n", "203.0.113.1"
        )
        self.assertEqual((peer.address, peer.msisdn), ("203.0.113.1", None))

    def test_garbage(self) -> None:
        """An address that is none leaves the proxy's own."""
        self.assertEqual(self.peer(b"X-Forwarded-For: me\r\n").address, "10.0.0.1")


class LogTests(SynchronousTestCase):
    """Bad input leaves one line with its cause, and no flood."""

    def test_many_addresses(self) -> None:
        """A flood from everywhere is remembered, and logged, up to a limit."""
        bench = Bench()
        with capturedLogs() as events:
            for number in range(1100):
                bench.front.complain(f"192.0.2.{number}", NOT_FOUND)
        self.assertEqual(len(events), 1024)
        bench.advance(61)
        with capturedLogs() as events:
            bench.front.complain("192.0.2.1099", NOT_FOUND)
        self.assertEqual(len(events), 1)

    def test_one_line_an_address(self) -> None:
        """Further refusals are counted, and the count is told afterwards."""
        bench = Bench()
        bench.sap.outcome = Malformed("no XML at all")
        with capturedLogs() as events:
            for address in ("192.0.2.1", "192.0.2.2"):
                connection, _ = bench.connect(address)
                connection.dataReceived(post() * 10)
            bench.advance(61)
        found = [(event["address"], event.get("more")) for event in events]
        self.assertEqual(
            found,
            [
                ("192.0.2.1", None),
                ("192.0.2.2", None),
                ("192.0.2.1", 9),
                ("192.0.2.2", 9),
            ],
        )
