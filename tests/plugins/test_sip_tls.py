"""SIP over TLS to a core: only one whose certificate is right hears a word."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gateway.log import Complaints, Logger
from gateway.sip.transaction import Hop
from plugins.sip import Names, StreamLink
from tests.plugins.test_sip import MESSAGE, AgentDouble


def certificate(address: str) -> tuple[bytes, bytes]:
    """Make a key and a certificate that vouches for itself, for one address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "core")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        made.public_bytes(serialization.Encoding.PEM),
    )


class Core(threading.Thread):
    """A core's end of one TLS connection: keeps what it hears."""

    def __init__(self, chain: Path) -> None:
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.port = self.listener.getsockname()[1]
        self.heard = b""
        self.start()

    def run(self) -> None:
        """Take one connection and read until it ends."""
        with self.listener:
            peer, _ = self.listener.accept()
        with peer:
            peer.settimeout(10)
            try:
                with self.context.wrap_socket(peer, server_side=True) as stream:
                    while data := stream.recv(4096):
                        self.heard += data
            except OSError:
                return


class TlsTests(TestCase):
    """A core on loopback with a certificate for some address."""

    def begin(self, address: str) -> tuple[StreamLink, Hop, Core, AgentDouble]:
        """Start the core, and a link that trusts whoever signed its certificate."""
        key, pem = certificate(address)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        chain = Path(folder.name) / "core.pem"
        chain.write_bytes(key + pem)
        core, agent = Core(chain), AgentDouble()
        self.addCleanup(core.join, 10)
        clock: Any = reactor
        link = StreamLink(
            clock, "tls", agent, Names(clock), Complaints(Logger(), clock)
        )
        root = trustRootFromCertificates([Certificate.loadPEM(pem)])
        link.trust = lambda host: optionsForClientTLS(host, trustRoot=root)
        self.addCleanup(lambda: deferLater(clock, 0.05))
        self.addCleanup(link.stop)
        return link, Hop("tls", "127.0.0.1", core.port), core, agent

    async def until(self, holds: Any) -> None:
        """Let the reactor turn until something is so."""
        for _ in range(500):
            if holds():
                return
            await deferLater(cast(Any, reactor), 0.01)
        self.fail("it did not come to pass")

    def test_the_right_core_hears_the_message(self) -> Deferred[None]:
        """The certificate is of the address that was configured."""

        async def run() -> None:
            link, hop, core, agent = self.begin("127.0.0.1")
            link.send(hop, MESSAGE)
            await self.until(lambda: core.heard == MESSAGE)
            self.assertEqual(agent.failures, [])

        return ensureDeferred(run())

    def test_another_core_hears_nothing(self) -> Deferred[None]:
        """A certificate for another address fails the hop."""

        async def run() -> None:
            link, hop, core, agent = self.begin("127.0.0.2")
            link.send(hop, MESSAGE)
            await self.until(lambda: agent.failures)
            self.assertEqual(core.heard, b"")
            self.assertEqual(agent.failures[0][0], hop)

        return ensureDeferred(run())

    def test_a_core_nobody_vouches_for_hears_nothing(self) -> Deferred[None]:
        """The system's roots decide unless told otherwise."""

        async def run() -> None:
            link, hop, core, agent = self.begin("127.0.0.1")
            link.trust = optionsForClientTLS
            link.send(hop, MESSAGE)
            await self.until(lambda: agent.failures)
            self.assertEqual(core.heard, b"")

        return ensureDeferred(run())
