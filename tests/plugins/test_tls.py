"""HTTPS: versions, certificates read again, hostile handshakes."""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.logger import capturedLogs

from gateway.configtable import ConfigFaults
from gateway.errors import ConfigError
from plugins.http import HttpService, parse_config
from plugins.http import http as binding
from tests.plugins.certificates import common_name, write_certificate
from tests.plugins.doubles import Answer, post, receive
from tests.plugins.test_http import LiveCase


def client(
    lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    highest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> ssl.SSLContext:
    """Make a client that takes any certificate and the given versions only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = lowest
        context.maximum_version = highest
    if lowest < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


class TlsTests(LiveCase):
    """A listener with ssl: in its endpoint."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.key, self.certificate = write_certificate(
            self.folder, "first.example.com", kind="rsa"
        )

    def serve_tls(self, **table: Any) -> HttpService:
        endpoint = (
            f"ssl:0:interface=127.0.0.1:privateKey={self.key}"
            f":certKey={self.certificate}"
        )
        return self.serve(endpoint=endpoint, **table)

    def ask(self, context: ssl.SSLContext, *requests: bytes) -> list[Answer]:
        with (
            socket.create_connection(self.address, timeout=10) as raw,
            context.wrap_socket(raw) as sock,
        ):
            self.version = sock.version()
            self.subject = common_name(sock.getpeercert(binary_form=True) or b"")
            sock.sendall(b"".join(requests))
            return receive(sock, len(requests))

    @pytest.mark.requirement("T-B.1.2-004", "T-7.1-01")
    async def test_https(self) -> None:
        """POSTs are served over TLS, several on one connection, chunked as well."""
        self.serve_tls()
        chunked = (
            b"POST /csp HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"4\r\n<c/>\r\n0\r\n\r\n"
        )
        found = await self.blocking(self.ask, client(), post(b"<a/>"), chunked)
        self.assertEqual([answer.body for answer in found], [b"<a/>", b"<c/>"])
        self.assertTrue(all(peer.secure for _, _, peer in self.sap.exchanged))

    async def test_large_replies(self) -> None:
        """A megabyte goes through both ways."""
        self.serve_tls()
        body = b"0123456789abcdef" * 65536
        [answer] = await self.blocking(self.ask, client(), post(body))
        self.assertEqual(answer.body == body, True)

    async def test_tls_1_2_is_the_least(self) -> None:
        """Older versions are refused unless the operator wants them."""
        self.serve_tls()
        old = client(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
        with self.assertRaises(OSError):
            await self.blocking(self.ask, old, post())
        await self.blocking(self.ask, client(highest=ssl.TLSVersion.TLSv1_2), post())
        self.assertEqual(self.version, "TLSv1.2")

    async def test_tls_1_3_only(self) -> None:
        """minimum_tls raises the bar as well."""
        self.serve_tls(minimum_tls="1.3")
        with self.assertRaises(OSError):
            await self.blocking(
                self.ask, client(highest=ssl.TLSVersion.TLSv1_2), post()
            )
        await self.blocking(self.ask, client(), post())
        self.assertEqual(self.version, "TLSv1.3")

    async def test_handsets_of_2005(self) -> None:
        """TLS 1.0 works where it is allowed, with a warning in the log."""
        with capturedLogs() as events:
            self.serve_tls(minimum_tls="1.0")
        warned = [e for e in events if e.get("minimum") == "1.0"]
        self.assertEqual([e["name"] for e in warned], ["binding[1]"])
        old = client(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1)
        [answer] = await self.blocking(self.ask, old, post())
        self.assertEqual((answer.status, self.version), (200, "TLSv1"))

    async def test_certificates_are_read_again(self) -> None:
        """reload() serves the new certificate; a broken one leaves the old."""
        service = self.serve_tls()
        await self.blocking(self.ask, client(), post())
        self.assertEqual(self.subject, "first.example.com")
        key, certificate = write_certificate(self.folder, "second.example.com")
        shutil.copyfile(key, self.key)
        with self.assertRaises(ConfigError) as caught:
            service.reload()
        self.assertIn("belong together", caught.exception.reason)
        await self.blocking(self.ask, client(), post())
        self.assertEqual(self.subject, "first.example.com")
        shutil.copyfile(certificate, self.certificate)
        self.assertEqual(service.reload(), [])
        await self.blocking(self.ask, client(), post())
        self.assertEqual(self.subject, "second.example.com")

    async def test_not_tls_at_all(self) -> None:
        """Plain HTTP to an HTTPS port ends the connection, and nothing else."""
        self.serve_tls()

        def plain() -> bytes:
            with socket.create_connection(self.address, timeout=10) as sock:
                sock.sendall(post())
                data = b""
                try:
                    while more := sock.recv(4096):
                        data += more
                except ConnectionResetError:
                    pass
                return data

        self.assertNotIn(b"HTTP/1.1 200", await self.blocking(plain))
        [answer] = await self.blocking(self.ask, client(), post())
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.sap.bodies, [b"<a/>"])

    async def test_stop(self) -> None:
        """A stop ends idle TLS connections too."""
        service = self.serve_tls()
        raw = self.connect()
        sock = client().wrap_socket(raw, do_handshake_on_connect=False)
        self.addCleanup(sock.close)
        await self.blocking(sock.do_handshake)
        reading = self.blocking(sock.recv, 100)
        await service.stopService()
        self.assertEqual(await reading, b"")
        self.assertEqual(self.connections, 0)

    async def test_a_handshake_that_never_ends(self) -> None:
        """It costs its connection, when its time is over."""
        service = self.serve_tls(body_timeout=1)
        sock = self.connect()
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        while not self.connections:
            await self.pause()
        while self.connections:
            await self.pause()
        self.assertTrue(service.running)


def fault(endpoint: str) -> str:
    with pytest.raises(ConfigFaults) as caught:
        parse_config({"type": "csp-http", "endpoint": endpoint}, "binding[1]")
    [found] = caught.value.faults
    assert found.path == "binding[1].endpoint"
    return found.reason


def test_files_are_checked_beforehand(tmp_path: Path) -> None:
    """A faulty key or certificate is a fault of the configuration."""
    key, certificate = write_certificate(tmp_path, "a.example.com")
    other, _ = write_certificate(tmp_path, "b.example.com")
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    assert "belong together" in fault(f"ssl:0:privateKey={other}:certKey={certificate}")
    assert "certKey" in fault(f"ssl:0:privateKey={key}:certKey={empty}")
    assert "privateKey" in fault(f"ssl:0:privateKey={empty}:certKey={certificate}")
    whole = f"ssl:0:privateKey={key}:certKey={certificate}"
    assert "extraCertChain" in fault(f"{whole}:extraCertChain={empty}")
    assert "sslmethod" in fault(f"{whole}:sslmethod=SSLv3_METHOD")


def test_an_encrypted_key_asks_nobody(tmp_path: Path) -> None:
    """The passphrase of a key is never asked for on a terminal."""
    _, certificate = write_certificate(tmp_path, "a.example.com")
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert "privateKey" in fault(f"ssl:0:privateKey={locked}:certKey={certificate}")


def test_description_of_https(tmp_path: Path) -> None:
    """The URL says https."""
    key, certificate = write_certificate(tmp_path, "a.example.com")
    endpoint = f"ssl:8443:privateKey={key}:certKey={certificate}"
    config = parse_config({"type": "csp-http", "endpoint": endpoint}, "binding[1]")
    assert binding.describe(config) == ["https://0.0.0.0:8443/csp"]
