"""The operator's window: Prometheus metrics and a health check over HTTP.

``/metrics`` is the Prometheus text format, ``/healthz`` 200 or 503 with one line for
each part that is ill. Figures are gathered when they are scraped; nothing is kept here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from twisted.application.service import Service
from twisted.internet import defer, endpoints
from twisted.internet.error import CannotListenError
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from gateway.configtable import Endpoint
from gateway.errors import ConfigError
from gateway.igateway import Figures, IBinding, IGateway
from gateway.log import Logger

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Snapshot:
    """The figures of one moment as Prometheus' families."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Give one family after the other."""
        for name, (text, labels, values) in self._figures.counters.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for key, value in values.items():
                counter.add_metric(list(key), value)
            yield counter
        for name, (text, labels, values) in self._figures.gauges.items():
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for key, value in values.items():
                gauge.add_metric(list(key), value)
            yield gauge


class _Page(Resource):
    """One page whose text is worked out for each request."""

    isLeaf = True
    _log = Logger()

    def __init__(self, gateway: IGateway) -> None:
        super().__init__()
        self._gateway = gateway

    def render(self, request: Any) -> Any:
        """Answer GET and HEAD, nothing else."""
        if request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(405)
            request.setHeader(b"allow", b"GET, HEAD")
            return b"this page is read only\n"
        return self._read(request)

    def _read(self, request: Any) -> int:
        gone: list[Any] = []
        request.notifyFinish().addErrback(gone.append)

        def failed(failure: Failure) -> tuple[int, bytes, bytes]:
            self._log.failure("a page was not made", failure)
            return 500, b"text/plain", b"the gateway failed on this request\n"

        def write(page: tuple[int, bytes, bytes]) -> None:
            if gone:
                return
            status, kind, body = page
            request.setResponseCode(status)
            request.setHeader(b"content-type", kind)
            request.setHeader(b"content-length", b"%d" % len(body))
            request.write(body)
            request.finish()

        d = defer.Deferred.fromCoroutine(self.page())
        d.addErrback(failed).addCallback(write)
        return NOT_DONE_YET

    async def page(self) -> tuple[int, bytes, bytes]:
        """Give status, content type and body."""
        raise AssertionError("each page has its own")


class Metrics(_Page):
    """``/metrics``."""

    async def page(self) -> tuple[int, bytes, bytes]:
        """Give every figure in the Prometheus text format."""
        registry = CollectorRegistry()
        registry.register(Snapshot(await self._gateway.figures()))
        return 200, CONTENT_TYPE, generate_latest(registry)


class Health(_Page):
    """``/healthz``."""

    async def page(self) -> tuple[int, bytes, bytes]:
        """Give 200 when all is well, else 503 and what is not."""
        ills = await self._gateway.ills()
        text = "".join(f"{ill}\n" for ill in ills) or "ok\n"
        return 503 if ills else 200, b"text/plain; charset=utf-8", text.encode()


class _Root(Resource):
    """Everything that is no page."""

    def getChild(self, path: bytes, request: Any) -> Any:
        """Say which pages there are."""
        return notFound(message="There are /metrics and /healthz.")


class _Site(Site):
    """The pages' server; that they are read again and again is no event to log."""

    noisy = False

    def log(self, request: Any) -> None:
        """Write no line for a request."""


class AdminService(Service):
    """Owns the listener of the administration's pages."""

    def __init__(self, reactor: Any, endpoint: Endpoint, gateway: IGateway) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        root = _Root()
        root.putChild(b"metrics", Metrics(gateway))
        root.putChild(b"healthz", Health(gateway))
        self._site = _Site(root, timeout=30)
        self._port: Any = None
        self.addresses: list[tuple[str, int]] = []

    def startService(self) -> None:
        """Listen; raises ConfigError when the endpoint cannot be had."""
        super().startService()
        found: list[Any] = []
        server = endpoints.serverFromString(self._reactor, self._endpoint.text)
        server.listen(self._site).addBoth(found.append)
        if isinstance(found[0], Failure):
            fault = found[0].value
            reason = getattr(fault, "socketError", fault)
            if not isinstance(fault, CannotListenError):
                found[0].raiseException()
            text = f"cannot listen on {self._endpoint.text}: {reason}"
            raise ConfigError("admin.endpoint", text)
        self._port = found[0]
        host = self._port.getHost()
        self.addresses = [(host.host, host.port)]

    def stopService(self) -> Any:
        """Stop listening."""
        super().stopService()
        port, self._port = self._port, None
        return None if port is None else defer.maybeDeferred(port.stopListening)


@implementer(IPlugin, IBinding)
class AdminBinding:
    """The binding behind the ``[admin]`` section."""

    type = "admin"

    def parseConfig(self, table: dict[str, Any], path: str) -> object:
        """Refuse: the pages are configured in their own section."""
        raise ConfigError(path, "the administration is configured in [admin]")

    def makeService(self, reactor: Any, config: Any, gateway: IGateway) -> AdminService:
        """Make the service that owns the listener; ``config`` is its endpoint."""
        return AdminService(reactor, config, gateway)

    def describe(self, config: Any) -> list[str]:
        """Name the listener."""
        return [f"admin {config.text}"]


admin = AdminBinding()
