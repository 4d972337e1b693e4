"""The seam between the bindings in ``plugins/`` and the decisions in ``services/``.

A binding moves bytes and decides nothing: it hands what arrived to the SAP or to the
user agent, and offers what can send. Interfaces here are zope's because
``twisted.plugin`` finds providers by them.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from zope.interface import Attribute, Interface

from gateway.config import Config
from gateway.sip.message import Request, Response
from gateway.sip.transaction import Hop


@dataclass(slots=True)
class Peer:
    """Who speaks on the data channel: address, bearer and what a proxy vouches for.

    The binding sets ``gone`` once nothing can be written to him any more.
    """

    address: str
    port: int
    secure: bool = False
    bearer: str = "HTTP"  # "HTTP", "WSP" or "SMS": the words of SupportedBearer
    msisdn: str | None = None
    gone: bool = False
    shared: bool = False  # the address is that of a proxy which many clients share


@dataclass(slots=True)
class Reply:
    """What goes back in one data channel exchange; an empty body says nothing.

    ``context`` is the SAP's own, for ``unwritten``.
    """

    content_type: str = ""
    body: bytes = b""
    context: object = None


Values = dict[tuple[str, ...], float]


@dataclass(slots=True)
class Figures:
    """Counters and gauges of one moment: name → (text, label names, values)."""

    counters: dict[str, tuple[str, tuple[str, ...], Values]] = field(
        default_factory=dict
    )
    gauges: dict[str, tuple[str, tuple[str, ...], Values]] = field(default_factory=dict)

    def counter(
        self, name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]
    ) -> None:
        """Add a family of counters."""
        self.counters[name] = (text, labels, dict(values))

    def family(
        self, name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]
    ) -> None:
        """Add a family of gauges."""
        self.gauges[name] = (text, labels, dict(values))

    def gauge(self, name: str, text: str, value: float) -> None:
        """Add a gauge without labels."""
        self.gauges[name] = (text, (), {(): value})


class ISap(Interface):
    """The service access point: one call an exchange of the data channel."""

    def exchange(
        content_type: str, body: bytes, peer: Peer
    ) -> Coroutine[Any, Any, Reply]:
        """Answer one body of the data channel.

        Raises Malformed (HTTP 400), UnsupportedMedia (415) or TooLarge (413) when the
        body has had no effect at all; Unreachable (503) when what it confirms cannot
        be committed now.
        """

    def opens_session(content_type: str, body: bytes) -> bool:
        """Tell whether the body is the first of a session: an Outband login."""

    def unwritten(reply: Reply) -> None:
        """Learn that the connection was gone before the reply could be written."""


class ILink(Interface):
    """A SIP transport that can send: the binding's side of one protocol."""

    def send(hop: Hop, data: bytes) -> None:
        """Send one message; a failure comes back as transport_failed."""

    def sent_by(hop: Hop) -> str:
        """Give the ``host:port`` under which answers from that hop reach us."""


class IUserAgent(Interface):
    """What stands behind the SIP transports."""

    def received(message: Request | Response, source: Hop) -> None:
        """Take one parsed SIP message."""

    def refused(request: Request, source: Hop, status: int, reason: str) -> None:
        """Answer a request that could be read only in part."""

    def transport_failed(hop: Hop, reason: str) -> None:
        """Learn that nothing reaches that hop now."""

    def attach(transport: str, link: ILink) -> None:
        """Learn the link that sends for a transport ("udp", "tcp", "tls")."""


class IGateway(Interface):
    """What a binding may ask of the gateway."""

    sap: ISap = Attribute("The service access point.")
    ua: IUserAgent = Attribute("The SIP user agent.")
    config: Config = Attribute("The whole configuration.")

    def figures() -> Coroutine[Any, Any, Figures]:
        """Gather what the operator's meters show."""

    def ills() -> Coroutine[Any, Any, list[str]]:
        """Name what keeps the gateway from doing its work."""


class IBinding(Interface):
    """A transport binding: one module of ``plugins/`` (which also provides IPlugin)."""

    type: str = Attribute("The word that [[binding]] tables use: csp-http, cir-tcp …")

    def parseConfig(table: dict[str, Any], path: str) -> object:
        """Check the table of this binding; raise ConfigFaults with every fault."""

    def makeService(reactor: Any, config: object, gateway: IGateway) -> Any:
        """Make the service (IService) that owns this binding's sockets."""

    def describe(config: object) -> list[str]:
        """Name what it listens on, for people."""
