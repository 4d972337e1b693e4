"""The operator's pages over a real socket, with a gateway that is a double."""

from __future__ import annotations

import http.client
from typing import Any, cast

import pytest
from twisted.internet import defer, reactor
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from gateway import config
from gateway.configtable import Endpoint
from gateway.errors import ConfigError
from gateway.igateway import Figures
from plugins.admin import AdminService, admin


class Gateway:
    """What the pages ask."""

    def __init__(self) -> None:
        self.ill: list[str] = []
        self.broken = False

    async def figures(self) -> Figures:
        """Give one counter and one gauge."""
        if self.broken:
            raise RuntimeError("a defect")
        found = Figures()
        found.counter("imps_messages", "Messages", ("event",), {("sent",): 3})
        found.gauge("imps_sessions", "Open sessions", 2)
        return found

    async def ills(self) -> list[str]:
        """Give what the test says."""
        return self.ill


class AdminTests(TestCase):
    """Requests as Prometheus and a load balancer make them."""

    def setUp(self) -> None:
        """Listen on a free port."""
        self.gateway = Gateway()
        endpoint = Endpoint.parse("tcp:0:interface=127.0.0.1")
        self.service = AdminService(reactor, endpoint, cast(Any, self.gateway))
        self.service.startService()
        self.addCleanup(self.service.stopService)

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Give status and body of a page."""
        return await deferToThread(self._get, path, method)

    def _get(self, path: str, method: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self.service.addresses[0], timeout=10)
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    @defer.inlineCallbacks
    def test_metrics_are_in_the_text_format(self):
        """Each family with its type, each value with its labels."""
        status, text = yield defer.ensureDeferred(self.get("/metrics"))
        self.assertEqual(status, 200)
        self.assertIn('imps_messages_total{event="sent"} 3.0\n', text)
        self.assertIn("# TYPE imps_messages_total counter\n", text)
        self.assertIn("imps_sessions 2.0\n", text)

    @defer.inlineCallbacks
    def test_a_page_that_is_read_leaves_no_line_in_the_log(self):
        """Prometheus reads it every few seconds."""
        events: list[Any] = []
        note = cast(Any, events.append)
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        yield defer.ensureDeferred(self.get("/metrics"))
        self.assertEqual([e for e in events if "/metrics" in formatEvent(e)], [])

    @defer.inlineCallbacks
    def test_health_names_what_is_ill(self):
        """200 ok, or 503 and a line for each ill part."""
        found = yield defer.ensureDeferred(self.get("/healthz"))
        self.assertEqual(found, (200, "ok\n"))
        self.gateway.ill = ["store cannot be had"]
        found = yield defer.ensureDeferred(self.get("/healthz"))
        self.assertEqual(found, (503, "store cannot be had\n"))

    @defer.inlineCallbacks
    def test_other_pages_and_methods_are_refused(self):
        """404 and 405, and the service goes on."""
        status, _ = yield defer.ensureDeferred(self.get("/other"))
        self.assertEqual(status, 404)
        status, _ = yield defer.ensureDeferred(self.get("/metrics", "POST"))
        self.assertEqual(status, 405)

    @defer.inlineCallbacks
    def test_a_defect_is_500_and_logged(self):
        """Not a page of Python."""
        self.gateway.broken = True
        status, text = yield defer.ensureDeferred(self.get("/metrics"))
        self.assertEqual(status, 500)
        self.assertNotIn("Traceback", text)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


def test_a_taken_port_is_a_fault_of_the_configuration():
    first = AdminService(
        reactor, Endpoint.parse("tcp:0:interface=127.0.0.1"), cast(Any, None)
    )
    first.startService()
    port = first.addresses[0][1]
    taken = Endpoint.parse(f"tcp:{port}:interface=127.0.0.1")
    with pytest.raises(ConfigError, match=r"admin\.endpoint"):
        AdminService(reactor, taken, cast(Any, None)).startService()
    first.stopService()


def test_it_is_no_binding_of_a_table(tmp_path):
    with pytest.raises(ConfigError):
        admin.parseConfig({"type": "admin"}, "binding[1]")


def test_without_an_endpoint_there_are_no_pages(tmp_path):
    document = {"gateway": {"domain": "example.com"}}
    assert config.parse(document, tmp_path / "g.toml").admin.endpoint is None
    document["admin"] = {"endpoint": "tcp:9090:interface=127.0.0.1"}
    endpoint = config.parse(document, tmp_path / "g.toml").admin.endpoint
    assert endpoint is not None and endpoint.port == 9090
