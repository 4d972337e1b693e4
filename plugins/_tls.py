"""TLS for listeners: our own contexts, so that certificates can be read again.

Files are the arguments of Twisted's ``ssl:`` endpoint strings: ``privateKey``,
``certKey`` (default: the same file), ``extraCertChain``. Protocol versions below 1.2
are for handsets of 2005 and only by the operator's wish (RFC 8996 forbids them
otherwise).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol

VERSIONS = {
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}
MODERN = "1.2"
"""The lowest version that needs no warning."""
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!eNULL"
# OpenSSL 3 refuses the signatures of TLS 1.0 and 1.1 above security level 0.
_OLD_CIPHERS = b"HIGH:MEDIUM:!aNULL:!eNULL:!RC4:!PSK:!SRP:@SECLEVEL=0"


@implementer(IOpenSSLServerConnectionCreator)
class TlsListener:
    """Makes the server's end of TLS connections from the files as last read."""

    def __init__(self, arguments: Mapping[str, str], minimum: str = MODERN) -> None:
        """Read the files; raises ValueError with what is wrong with them."""
        self._arguments = arguments
        self._minimum = minimum
        self._context = make_context(arguments, minimum)

    def reload(self) -> None:
        """Read the files again for the connections to come.

        Raises ValueError and keeps the old certificate when they are at fault.
        """
        self._context = make_context(self._arguments, self._minimum)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the OpenSSL half of one connection."""
        return SSL.Connection(self._context, None)


def make_context(arguments: Mapping[str, str], minimum: str = MODERN) -> SSL.Context:
    """Build a server context; raises ValueError naming the argument at fault."""
    key = arguments.get("privateKey", "")
    certificate = arguments.get("certKey", key)
    chain = arguments.get("extraCertChain", "")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(VERSIONS[minimum])
    context.set_options(
        SSL.OP_NO_COMPRESSION
        | SSL.OP_CIPHER_SERVER_PREFERENCE
        | SSL.OP_NO_RENEGOTIATION
    )
    # An idle connection gives its 34 kB of buffers back.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_id(b"imps-gateway")
    context.set_cipher_list(_CIPHERS if minimum >= MODERN else _OLD_CIPHERS)
    first, *rest = _certificates("certKey", certificate)
    context.use_certificate(first)
    for further in [*rest, *(_certificates("extraCertChain", chain) if chain else ())]:
        context.add_extra_chain_cert(further)
    private_key = _private_key(key)
    try:
        context.use_privatekey(private_key)
        context.check_privatekey()
    except SSL.Error:
        raise ValueError("privateKey and certKey do not belong together") from None
    return context


def _certificates(name: str, file: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(Path(file).read_bytes())
    except (OSError, ValueError):
        raise ValueError(f"{name} holds no certificate in PEM form: {file}") from None


def _private_key(file: str) -> Any:
    # Loaded here, because OpenSSL would ask the terminal for a passphrase.
    try:
        return serialization.load_pem_private_key(Path(file).read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(
            f"privateKey holds no unencrypted private key in PEM form: {file}"
        ) from None
