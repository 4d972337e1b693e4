"""The csp-http binding as configured, over real sockets on the loopback."""

from __future__ import annotations

import dataclasses
import http.client
import socket
import struct
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.plugin import getPlugins
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

import plugins
from gateway.configtable import ConfigFaults, Endpoint
from gateway.errors import ConfigError, Malformed, TooLarge, UnsupportedMedia
from gateway.igateway import IBinding, Reply
from plugins.http import HttpService, parse_config
from plugins.http import http as binding
from tests.plugins.doubles import XML, Answer, GatewayDouble, post, receive

LOOPBACK = "tcp:0:interface=127.0.0.1"


class LiveCase(TestCase):
    """Starts a binding on a free port; clients block in threads."""

    timeout = 30

    def setUp(self) -> None:
        self.services: list[HttpService] = []

    def make(self, **table: Any) -> HttpService:
        table = {"type": "csp-http", "endpoint": LOOPBACK, **table}
        self.gateway = GatewayDouble()
        self.sap = self.gateway.sap
        config = binding.parseConfig(table, "binding[1]")
        return binding.makeService(reactor, config, self.gateway)  # type: ignore[arg-type]

    def serve(self, **table: Any) -> HttpService:
        service = self.make(**table)
        service.startService()
        self.services.append(service)
        self.addCleanup(lambda: service.stopService() if service.running else None)
        [self.address] = service.addresses
        return service

    def blocking(self, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThread(call, *arguments)

    async def pause(self) -> None:
        """Let the reactor turn."""
        await deferLater(reactor, 0.005)

    @property
    def connections(self) -> int:
        """Count the connections that are open."""
        return sum(len(service.connections) for service in self.services)

    def connect(self) -> socket.socket:
        sock = socket.create_connection(self.address, timeout=10)
        self.addCleanup(sock.close)
        return sock

    def exchange(self, *pieces: bytes, count: int = 1) -> list[Answer]:
        """Send on a connection of its own; read that many replies."""
        with socket.create_connection(self.address, timeout=10) as sock:
            for piece in pieces:
                sock.sendall(piece)
            return receive(sock, count)


class WireTests(LiveCase):
    """What handsets and proxies send, and what they get."""

    def ask(self, method: str, path: str, **options: Any) -> Answer:
        """Ask by way of the standard library's client, which judges the reply."""
        client = http.client.HTTPConnection(*self.address, timeout=10)
        try:
            client.request(method, path, **options)
            reply = client.getresponse()
            headers = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, headers, reply.read())
        finally:
            client.close()

    @pytest.mark.requirement("T-7.1-01", "T-B.1.2-003")
    async def test_host_and_chunks(self) -> None:
        """HTTP/1.1 with a Host is served, a chunked body as well."""
        self.serve()
        plain = await self.blocking(self.exchange, post(b"<plain/>"))
        chunked = await self.blocking(
            self.exchange,
            b"POST /csp HTTP/1.1\r\nHost: gw\r\nContent-Type: " + XML.encode(),
            b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<chun\r\n",
            b"5\r\nked/>\r\n0\r\n\r\n",
        )
        self.assertEqual([plain[0].body, chunked[0].body], [b"<plain/>", b"<chunked/>"])
        self.assertEqual(self.sap.bodies, [b"<plain/>", b"<chunked/>"])

    @pytest.mark.requirement("T-7.2-01")
    async def test_post_only(self) -> None:
        """Other methods get 405, Allow: POST, a line of text, and change nothing."""
        self.serve()
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
            answer = await self.blocking(self.ask, method, "/csp")
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
            self.assertIn(b"IMPS", answer.body)
        self.assertEqual(self.sap.bodies, [])

    @pytest.mark.requirement("T-7.3-01")
    async def test_path_and_port(self) -> None:
        """The access point has the path of the configuration, and no other."""
        self.serve(path="/imps/csp")
        targets = (b"/imps/csp", b"/imps/csp?x=1", b"http://gw:8080/imps/csp", b"/imps")
        requests = [post().replace(b"/csp", target, 1) for target in targets]
        found = await self.blocking(lambda: self.exchange(*requests, count=4))
        self.assertEqual([answer.status for answer in found], [200, 200, 200, 404])

    @pytest.mark.requirement("T-4-02")
    async def test_behind_a_wap_gateway(self) -> None:
        """Headers that a gateway in front adds change nothing."""
        self.serve()
        added = (
            b"Via: 1.1 wapgw.example.com (Nokia WAP Gateway 4.0)\r\n"
            b"X-Forwarded-For: 10.1.2.3\r\n"
            b'X-Wap-Profile: "http://nds.nokia.com/uaprof/N6600r100.xml"\r\n'
            b"Accept: application/vnd.wv.csp.xml, text/vnd.wap.wml, */*\r\n"
            b"Accept-Charset: iso-8859-1, utf-8; q=0.7, *; q=0.5\r\n"
            b"Encoding-Version: 1.2\r\nCookie: a=b\r\n"
        )
        [answer] = await self.blocking(self.exchange, post(headers=added))
        self.assertEqual((answer.status, answer.body), (200, b"<a/>"))
        self.assertEqual(self.sap.exchanged[0][2].address, "127.0.0.1")

    @pytest.mark.requirement("T-7.5-01", "T-7.6-01")
    async def test_standard_errors(self) -> None:
        """404, 415, 413 and 405 are valid HTTP replies with a date and a length."""
        self.serve(max_body=2000)
        refused = {
            "/csp": (UnsupportedMedia("text/html"), b"x", 415),
            "/csp?": (TooLarge("too deep"), b"x", 413),
            "/csp#": (None, b"x" * 2001, 413),
            "/none": (None, b"x", 404),
        }
        for path, (outcome, body, status) in refused.items():
            self.sap.outcome = outcome
            answer = await self.blocking(
                lambda path=path, body=body: self.ask("POST", path, body=body)
            )
            self.assertEqual(answer.status, status)
            self.assertRegex(
                answer.headers["date"], r"^\w{3}, \d\d \w{3} \d{4} .* GMT$"
            )
            self.assertEqual(answer.headers["content-length"], str(len(answer.body)))
            self.assertTrue(answer.headers["content-type"].startswith("text/plain"))

    async def test_a_malformed_body(self) -> None:
        """What the SAP cannot read is 400, with the cause."""
        self.serve()
        self.sap.outcome = Malformed("no element found: line 1")
        answer = await self.blocking(lambda: self.ask("POST", "/csp", body=b"<a"))
        self.assertEqual(
            (answer.status, answer.body), (400, b"no element found: line 1\n")
        )

    @pytest.mark.requirement("T-7.4-02", "T-7.4-03", "T-7.4-05")
    async def test_permanent_redirect(self) -> None:
        """301 with an absolute Location and no caching headers; no other status."""
        target = "https://imps.example.com:8443/csp"
        self.serve(redirect=target, redirect_status=301)
        answer = await self.blocking(
            lambda: self.ask("POST", "/csp", body=b"<Login-Request/>")
        )
        self.assertEqual((answer.status, answer.headers["location"]), (301, target))
        self.assertFalse({"cache-control", "expires", "pragma"} & set(answer.headers))
        with self.assertRaises(ConfigFaults):
            parse_config({"type": "csp-http", "redirect_status": 302}, "binding[1]")

    @pytest.mark.requirement("T-7.4-04")
    async def test_session_redirect(self) -> None:
        """A login is sent on with 307; the address it is sent to serves it."""
        self.serve()
        there = self.address
        self.serve(redirect=f"http://{there[0]}:{there[1]}/csp")
        login = post(b"<Login-Request/>")
        [moved] = await self.blocking(self.exchange, login)
        self.assertEqual(moved.status, 307)
        self.assertEqual(self.sap.bodies, [])
        location = moved.headers["location"]
        self.assertEqual(location, f"http://{there[0]}:{there[1]}/csp")
        self.address = there
        found = await self.blocking(lambda: self.exchange(login, post(), count=2))
        self.assertEqual([answer.status for answer in found], [200, 200])

    async def test_big_bodies_both_ways(self) -> None:
        """A megabyte goes in and comes out, however the sockets cut it."""
        self.serve()
        body = b"0123456789abcdef" * 65536
        answer = await self.blocking(lambda: self.ask("POST", "/csp", body=body))
        self.assertEqual((answer.status, answer.body == body), (200, True))

    async def test_413_reaches_who_still_sends(self) -> None:
        """The refusal of a body is read by a client that is sending that body."""
        self.serve(max_body=1024)

        def send() -> list[Answer]:
            with socket.create_connection(self.address, timeout=10) as sock:
                sock.sendall(post(b"a" * 200_000))
                return receive(sock)

        [answer] = await self.blocking(send)
        self.assertEqual((answer.status, answer.headers["connection"]), (413, "close"))

    async def test_a_client_that_leaves(self) -> None:
        """The SAP learns that nobody was there for its reply."""
        self.serve()
        self.sap.hold = True
        sock = self.connect()
        sock.sendall(post())
        while not self.sap.held:
            await self.pause()
        sock.close()
        while self.connections:
            await self.pause()
        reply = Reply(XML, b"late")
        self.sap.held[0].callback(reply)
        self.assertEqual(self.sap.lost, [reply])

    async def test_a_reset_found_while_writing(self) -> None:
        """So it does when the connection is found dead by the writing itself."""
        self.serve()
        self.sap.hold = True
        sock = self.connect()
        sock.sendall(post())
        while not self.sap.held:
            await self.pause()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        reply = Reply(XML, b"late")
        self.sap.held[0].callback(reply)
        self.assertEqual(self.sap.lost, [reply])
        while self.connections:
            await self.pause()

    async def test_a_client_that_reads_nothing(self) -> None:
        """Replies that are not read hold the serving, not the memory."""
        self.serve()
        self.sap.outcome = Reply(XML, b"x" * 100_000)
        sock = self.connect()
        sock.settimeout(0.5)
        burst, sent = post() * 100, 0
        while sent < 20_000:
            try:
                sent += await self.blocking(sock.send, burst) // len(post())
            except TimeoutError:
                break
            await self.pause()
        self.assertLess(len(self.sap.bodies), 5000)
        self.assertLess(len(self.sap.bodies), sent)


class StopTests(LiveCase):
    """The service itself: listening, stopping, reloading."""

    async def test_reply_under_way_leaves(self) -> None:
        """A stop waits for the reply that is due, and refuses new connections."""
        service = self.serve()
        self.sap.hold = True
        waiting = self.blocking(self.exchange, post())
        while not self.sap.held:
            await self.pause()
        stopped = service.stopService()
        with self.assertRaises(OSError):
            await self.blocking(self.connect)
        self.assertNoResult(stopped)
        self.sap.held[0].callback(Reply(XML, b"<last/>"))
        [answer] = await waiting
        self.assertEqual(
            (answer.body, answer.headers["connection"]), (b"<last/>", "close")
        )
        await stopped
        self.assertEqual(service.addresses, [])

    async def test_port_in_use(self) -> None:
        """A port that cannot be had is named, with the table it stands in."""
        self.serve()
        port = self.address[1]
        with self.assertRaises(ConfigError) as caught:
            self.serve(endpoint=f"tcp:{port}:interface=127.0.0.1")
        self.assertEqual(caught.exception.path, "binding[1].endpoint")

    async def test_unix_socket(self) -> None:
        """A proxy on the same machine may come by a UNIX socket."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = f"{folder.name}/csp"
        self.services.append(service := self.make(endpoint=f"unix:{path}"))
        service.startService()

        def ask() -> list[Answer]:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(post(headers=b"X-Forwarded-For: 192.0.2.1\r\n"))
                return receive(sock)

        [answer] = await self.blocking(ask)
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.sap.exchanged[0][2].address, "")
        await service.stopService()

    async def test_privileged_port(self) -> None:
        """It listens before root's rights are given up, and only once."""
        service = self.make()
        service.privilegedStartService()
        before = service.addresses
        service.startService()
        self.assertEqual(service.addresses, before)
        await service.stopService()

    async def test_new_limits(self) -> None:
        """Limits change while it runs; what needs a restart is named."""
        service = self.serve(max_body=2000)
        table = {"type": "csp-http", "endpoint": LOOPBACK, "max_body": 3000}
        body = b"a" * 2500
        [before] = await self.blocking(self.exchange, post(body))
        self.assertEqual(service.reload(parse_config(table, "binding[1]")), [])
        [after] = await self.blocking(self.exchange, post(body))
        self.assertEqual((before.status, after.status), (413, 200))
        table["endpoint"] = "tcp:8080"
        restart = service.reload(parse_config(table, "binding[1]"))
        self.assertEqual(restart, ["binding[1].endpoint"])


def faults_of(**table: Any) -> list[str]:
    """Give the keys at fault."""
    with pytest.raises(ConfigFaults) as caught:
        parse_config({"type": "csp-http", **table}, "binding[2]")
    return [fault.path for fault in caught.value.faults]


def test_defaults() -> None:
    """Every key has a default."""
    config = parse_config({"type": "csp-http"}, "binding[1]")
    found = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    assert found == {
        "endpoint": Endpoint.parse("tcp:8080:interface=127.0.0.1"),
        "name": "binding[1]",
        "path": "/csp",
        "redirect": "",
        "redirect_status": 307,
        "minimum_tls": "1.2",
        "max_body": 1024 * 1024,
        "idle_timeout": 120,
        "header_timeout": 10,
        "body_timeout": 30,
        "max_connections": 4096,
        "max_connections_per_address": 256,
        "trusted_proxies": (),
    }


def test_every_fault_is_named() -> None:
    """One table, many faults, none of them hidden by another."""
    assert faults_of(
        endpoint="udp:8080",
        path="csp",
        redirect="ftp://x",
        redirect_status=302,
        minimum_tls="ssl3",
        max_body="a lot",
        idle_timeout=0,
        trusted_proxies=["everyone"],
        max_conections=1,
    ) == [
        "binding[2].endpoint",
        "binding[2].path",
        "binding[2].redirect",
        "binding[2].redirect_status",
        "binding[2].minimum_tls",
        "binding[2].max_body",
        "binding[2].idle_timeout",
        "binding[2].trusted_proxies",
        "binding[2].max_conections",
    ]


@pytest.mark.parametrize("target", ["http://a/\r\nSet-Cookie: x", "http://a/b c"])
def test_redirect_is_one_header(target: str) -> None:
    """Nothing in the configuration can end the header line."""
    assert faults_of(redirect=target) == ["binding[2].redirect"]


@pytest.mark.parametrize("path", ["/csp?x", "/csp#x", "/a b", ""])
def test_paths(path: str) -> None:
    """A path is a path alone."""
    assert faults_of(path=path) == ["binding[2].path"]


def test_the_plugin_is_found() -> None:
    """twisted.plugin finds it, by the interface and by its word."""
    found = [p for p in getPlugins(IBinding, plugins) if p.type == "csp-http"]
    assert len(found) == 1
    assert verifyObject(IBinding, found[0])


def test_description() -> None:
    """The URL that people are told."""
    config = binding.parseConfig({"type": "csp-http"}, "binding[1]")
    assert binding.describe(config) == ["http://127.0.0.1:8080/csp"]
