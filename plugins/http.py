"""CSP over HTTP and HTTPS: the data channel of IMPS 1.1 to 1.3.

Follows the CSP transport binding, chapter 7 (POST only, empty 200 when there is
nothing to say, 301 and 307 on a session's first POST), and RFC 9110 and 9112. Bytes
go in and out here; what they mean is decided by the SAP.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

import httptools
from twisted.application.service import Service
from twisted.internet import endpoints
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall
from twisted.plugin import IPlugin
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from gateway.configtable import Endpoint, Network, Table
from gateway.errors import ConfigError
from gateway.igateway import IBinding, IGateway, Peer
from gateway.log import Complaints, Logger
from plugins._http_connection import HttpConnection
from plugins._http_reader import NEEDED
from plugins._http_replies import BUSY, NOT_FOUND, NOT_POST, Refusal, redirect
from plugins._tls import MODERN, VERSIONS, TlsListener

DRAIN = 5.0
"""Seconds that a stop waits for the replies under way."""
REFUSED_AT_ONCE = 64
"""Connections above the limit that still get a 503; further ones are dropped."""
_FORWARDED = b"x-forwarded-for"
# In which WAP gateways hand on the calling number, the surest first.
_MSISDN = (
    b"x-msisdn",
    b"x-nokia-msisdn",
    b"x-up-calling-line-id",
    b"x-wap-network-client-msisdn",
    b"msisdn",
)
_CLIENT_ADDRESS = b"x-wap-network-client-ip"
_VOUCHED = frozenset((_FORWARDED, _CLIENT_ADDRESS, *_MSISDN))
_TLS_ARGUMENTS = frozenset(("privateKey", "certKey", "extraCertChain"))
_TCP_ARGUMENTS = frozenset(("port", "interface", "backlog"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """One ``[[binding]]`` of type csp-http; sizes in bytes, times in seconds."""

    name: str
    """``binding[1]``: the table, in words to the operator."""
    endpoint: Endpoint
    path: str
    redirect: str
    """Where a session's first POST is sent; empty: nowhere."""
    redirect_status: int
    minimum_tls: str
    max_body: int
    idle_timeout: float
    """Between requests of a connection."""
    header_timeout: float
    """From the first byte of a request to the end of its headers."""
    body_timeout: float
    """For the body; also for a TLS handshake, and for a client that reads nothing."""
    max_connections: int
    max_connections_per_address: int
    trusted_proxies: tuple[Network, ...]
    """Whose words on the client's address and number are believed."""


def parse_config(mapping: dict[str, Any], path: str) -> HttpConfig:
    """Check one table; raises ``ConfigFaults`` with every fault."""
    table = Table(mapping, path)
    table.choice("type", "csp-http", ("csp-http",))
    config = HttpConfig(
        name=path,
        endpoint=table.endpoint("endpoint", "tcp:8080:interface=127.0.0.1"),
        path=table.string(
            "path",
            "/csp",
            pattern=r"/[!-~]*",
            allowed="a path such as '/csp'",
            check=_plain_path,
        ),
        redirect=_redirect_target(table),
        redirect_status=table.number_choice("redirect_status", 307, (301, 307)),
        minimum_tls=table.choice("minimum_tls", MODERN, tuple(VERSIONS)),
        max_body=table.size("max_body", 2**20, minimum=1024, maximum=2**30),
        idle_timeout=table.seconds("idle_timeout", 120, minimum=1, maximum=86400),
        header_timeout=table.seconds("header_timeout", 10, minimum=1, maximum=3600),
        body_timeout=table.seconds("body_timeout", 30, minimum=1, maximum=3600),
        max_connections=table.integer("max_connections", 4096, minimum=1),
        max_connections_per_address=table.integer(
            "max_connections_per_address", 256, minimum=1
        ),
        trusted_proxies=table.networks("trusted_proxies"),
    )
    if config.endpoint.kind == "ssl":
        _check_tls(table, config)
    table.finish()
    return config


def _plain_path(path: str) -> str:
    if "?" in path or "#" in path:
        raise ValueError
    return path


def _redirect_target(table: Table) -> str:
    target = table.url("redirect")
    # It becomes a header: nothing may be in it that ends a line.
    if not target.isascii() or not target.isprintable() or " " in target:
        table.fault("redirect", "must be an http:// or https:// URL without blanks")
    return target


def _check_tls(table: Table, config: HttpConfig) -> None:
    arguments = config.endpoint.arguments
    for name in sorted(arguments.keys() - _TLS_ARGUMENTS - _TCP_ARGUMENTS):
        table.fault("endpoint", f"knows no argument {name!r}")
    if "privateKey" not in arguments:
        return  # a fault already
    try:
        TlsListener(arguments, config.minimum_tls)
    except ValueError as error:
        table.fault("endpoint", str(error))


class Front(ServerFactory):
    """What the connections of one binding share."""

    noisy = False
    _log = Logger()

    def __init__(self, clock: Any, config: HttpConfig, gateway: IGateway) -> None:
        self.config = config
        self.sap = gateway.sap
        self.seconds = clock.seconds
        self.secure = config.endpoint.kind == "ssl"
        self.stopping = False
        self.connections: set[HttpConnection] = set()
        self.date = b""
        self._from: dict[str, int] = {}
        self.complaints = Complaints(self._log, clock)
        self._emptied: Deferred[None] | None = None
        self.apply(config)
        self.sweep()

    def apply(self, config: HttpConfig) -> None:
        """Take new limits, for requests to come; connections keep their max_body."""
        self.config = config
        self._path = config.path.encode("ascii")
        self.moved = (
            redirect(config.redirect_status, config.redirect)
            if config.redirect
            else None
        )
        self.wanted = NEEDED | _VOUCHED if config.trusted_proxies else NEEDED

    def buildProtocol(self, addr: object) -> HttpConnection:
        """Make the server's end of one connection."""
        return HttpConnection(self)

    # What connections ask.

    def route(self, method: bytes, target: bytes) -> Refusal | None:
        """Refuse what is not a POST to the access point (CSP binding 7.2, 7.3)."""
        if target != self._path and _path_of(target) != self._path:
            return NOT_FOUND
        return None if method == b"POST" else NOT_POST

    def admit(self, connection: HttpConnection) -> Refusal | None:
        """Count a new connection; refuse it above the limits."""
        address = connection.address
        self.connections.add(connection)
        self._from[address] = count = self._from.get(address, 0) + 1
        config = self.config
        total = len(self.connections)
        if total > config.max_connections + REFUSED_AT_ONCE:
            connection.abort()
        elif total > config.max_connections:
            return BUSY
        elif count > config.max_connections_per_address:
            # All handsets of an operator may come from the address of one proxy.
            return None if self._trusted(address) else BUSY
        return None

    def forget(self, connection: HttpConnection) -> None:
        """Count a connection that has ended."""
        self.connections.discard(connection)
        left = self._from[connection.address] - 1
        if left:
            self._from[connection.address] = left
        else:
            del self._from[connection.address]
        if self._emptied is not None and not self.connections:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def peer_of(self, connection: HttpConnection, headers: dict[bytes, bytes]) -> Peer:
        """Say who speaks; proxies are believed only when the operator trusts them."""
        address, msisdn, shared = connection.address, None, False
        if self.config.trusted_proxies and self._trusted(address):
            vouched = self._vouched_address(headers)
            address, shared = vouched or address, vouched is None
            msisdn = next((headers[name] for name in _MSISDN if name in headers), None)
        return Peer(
            address,
            connection.port,
            self.secure,
            msisdn=None if msisdn is None else msisdn.decode("latin-1").strip(),
            shared=shared,
        )

    def _vouched_address(self, headers: dict[bytes, bytes]) -> str | None:
        """Give the nearest address that no trusted proxy has.

        A client may write X-Forwarded-For itself: each proxy adds on the right.
        """
        chain = headers.get(_FORWARDED, headers.get(_CLIENT_ADDRESS, b""))
        found = None
        for word in reversed(chain.decode("latin-1").split(",")):
            try:
                found = str(ipaddress.ip_address(word.strip().strip("[]")))
            except ValueError:
                break
            if not self._trusted(found):
                break
        return found

    def _trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False  # a UNIX socket
        return any(parsed in network for network in self.config.trusted_proxies)

    def complain(self, address: str, refusal: Refusal) -> None:
        """Log why a request was refused, at most once a minute and address."""
        if refusal.status >= 400:
            self.complaints.about(
                address,
                "HTTP {status} to {address}: {cause}",
                status=refusal.status,
                address=address,
                cause=refusal.text,
            )

    # What the service asks.

    def sweep(self) -> None:
        """Do once a second what needs doing: the date, deadlines."""
        now = self.seconds()
        self.date = f"Date: {formatdate(now, usegmt=True)}\r\n".encode("ascii")
        for connection in [c for c in self.connections if c.deadline <= now]:
            connection.expire()

    def drain(self) -> Deferred[None]:
        """Take no new work; fires when the last connection has ended."""
        self.stopping = True
        emptied: Deferred[None] = Deferred()
        for connection in tuple(self.connections):
            connection.drain()
        if self.connections:
            self._emptied = emptied
        else:
            emptied.callback(None)
        return emptied

    def abort(self) -> None:
        """Drop every connection."""
        for connection in tuple(self.connections):
            connection.abort()


def _path_of(target: bytes) -> bytes:
    """Give the path of a request target; proxies send the absolute form."""
    try:
        return httptools.parse_url(target).path or b"/"
    except httptools.HttpParserInvalidURLError:
        return b""


class HttpService(Service):
    """Owns the listener of one binding.

    ``addresses`` holds (host, port) of the listener while it is open: with port 0 it
    is the only way to know.
    """

    _log = Logger()

    def __init__(self, reactor: Any, config: HttpConfig, gateway: IGateway) -> None:
        self.config = config
        self.addresses: list[tuple[str, int]] = []
        self._reactor = reactor
        self._front = Front(reactor, config, gateway)
        self._tls: TlsListener | None = None
        self._port: IListeningPort | None = None
        self._ticking = LoopingCall(self._front.sweep)
        self._ticking.clock = reactor

    @property
    def connections(self) -> frozenset[HttpConnection]:
        """The connections that are open now."""
        return frozenset(self._front.connections)

    def privilegedStartService(self) -> None:
        """Listen before root's rights are given up: the port may be 443."""
        self._listen()

    def startService(self) -> None:
        """Listen; raises ConfigError when the endpoint cannot be had."""
        super().startService()
        self._listen()
        self._ticking.start(1.0).addErrback(
            lambda failure: self._log.failure("sweeping connections", failure)
        )

    def _listen(self) -> None:
        if self._port is not None:
            return
        config = self.config
        factory: Any = self._front
        text = config.endpoint.text
        if self._front.secure:
            self._tls = self._make_tls(config)
            factory = TLSMemoryBIOFactory(self._tls, False, self._front, self._reactor)
            text = _tcp_part(config.endpoint)
        if self._front.secure and config.minimum_tls < MODERN:
            self._log.warn(
                "{name} accepts TLS {minimum}: for old handsets only",
                name=config.name,
                minimum=config.minimum_tls,
            )
        faults: list[BaseException] = []
        listening = endpoints.serverFromString(self._reactor, text).listen(factory)
        listening.addCallbacks(
            self._opened, lambda failure: faults.append(failure.value)
        )
        for fault in faults:
            reason = f"cannot listen on {config.endpoint.text}: {fault}"
            raise ConfigError(f"{config.name}.endpoint", reason)

    def _make_tls(self, config: HttpConfig) -> TlsListener:
        try:
            return TlsListener(config.endpoint.arguments, config.minimum_tls)
        except ValueError as error:
            raise ConfigError(f"{config.name}.endpoint", str(error)) from None

    def _opened(self, port: IListeningPort) -> None:
        self._port = port
        host = port.getHost()
        self.addresses = [(getattr(host, "host", ""), getattr(host, "port", 0))]

    def reload(self, config: HttpConfig | None = None) -> list[str]:
        """Read certificates again and take new limits; on a fault keep the old ones.

        Gives the keys whose change needs a restart. Raises ConfigError.
        """
        config = config or self.config
        old = self.config
        kept = [
            key
            for key in ("endpoint", "minimum_tls")
            if getattr(config, key) != getattr(old, key)
        ]
        if self._tls is not None:
            try:
                self._tls.reload()
            except ValueError as error:
                raise ConfigError(f"{old.name}.endpoint", str(error)) from None
        self.config = replace(
            config, endpoint=old.endpoint, minimum_tls=old.minimum_tls
        )
        self._front.apply(self.config)
        return [f"{config.name}.{key}" for key in kept]

    def stopService(self) -> Deferred[None]:
        """Take no new work, let replies under way leave (at most 5 s), close."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        self.addresses = []
        if port is not None:
            await maybeDeferred(port.stopListening)
        emptied = self._front.drain()
        cut = self._reactor.callLater(DRAIN, self._front.abort)
        await emptied
        if cut.active():
            cut.cancel()
        self._front.complaints.stop()
        if self._ticking.running:
            self._ticking.stop()


def _tcp_part(endpoint: Endpoint) -> str:
    """Give the TCP endpoint that carries a TLS one."""
    tcp = {k: v for k, v in endpoint.arguments.items() if k in _TCP_ARGUMENTS}
    tcp["port"] = str(endpoint.port)
    words = [f"{k}={endpoints.quoteStringArgument(v)}" for k, v in tcp.items()]
    return ":".join(["tcp", *words])


@implementer(IPlugin, IBinding)
class HttpBinding:
    """The plugin."""

    type = "csp-http"

    def parseConfig(self, table: dict[str, Any], path: str) -> HttpConfig:
        """Check a table of this type; raises ``ConfigFaults``."""
        return parse_config(table, path)

    def makeService(self, reactor: Any, config: Any, gateway: IGateway) -> HttpService:
        """Make the service that owns the listener."""
        return HttpService(reactor, config, gateway)

    def describe(self, config: Any) -> list[str]:
        """Name the URL under which handsets reach it."""
        endpoint = config.endpoint
        scheme = "https" if endpoint.kind == "ssl" else "http"
        host = endpoint.interface or "0.0.0.0"
        shown = f"[{host}]" if ":" in host else host
        return [f"{scheme}://{shown}:{endpoint.port}{config.path}"]


http = HttpBinding()
