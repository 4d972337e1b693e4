"""The HTTP line of the terminal handset: posts a body, gives what came back.

Transport binding 1.3: POST only, one message or nothing each way; 301 and 307 send the
handset elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

from OpenSSL.SSL import Error as TlsError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    SSLError,
)
from twisted.internet.interfaces import IConsumer
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseFailed,
    readBody,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from gateway import __version__
from gateway.cli._trust import trust_root
from gateway.errors import Unreachable

_OK: Final = 200
_REDIRECTS: Final = frozenset({301, 307})
_MOST_REDIRECTS: Final = 3
_CONNECT_SECONDS: Final = 10
# More than a server may hold an answer back, with some for a slow line.
_ANSWER_SECONDS: Final = 30
_FAILURES: Final = (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    RequestTransmissionFailed,
    ResponseFailed,
    SSLError,
)


@implementer(IBodyProducer)
class _Body:
    """A request body that is all there (FileBodyProducer wants the global reactor)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write it."""
        consumer.write(self.data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


@dataclass(frozen=True, slots=True)
class Posted:
    """The reply to one POST."""

    status: int
    content_type: str
    body: bytes


class HttpLine:
    """One handset's way to its server, over a connection that is kept.

    ``ca`` names a PEM file with the certificate to trust instead of the system's.
    """

    def __init__(self, reactor: Any, url: str, ca: Path | None = None) -> None:
        self._url = url
        self._reactor = reactor
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        # A retry is the handset's business: it knows which requests are safe.
        self._pool.retryAutomatically = False
        self._agent = Agent(
            reactor,
            contextFactory=BrowserLikePolicyForHTTPS(trust_root(ca)),
            connectTimeout=_CONNECT_SECONDS,
            pool=self._pool,
        )

    async def post(self, content_type: str, body: bytes) -> Posted:
        """Post one body, following redirects for good.

        Raises Unreachable when there is no connection or no reply, a permanent one
        where TLS fails.
        """
        posting = Deferred.fromCoroutine(self._post(content_type, body))
        try:
            return await posting.addTimeout(_ANSWER_SECONDS, self._reactor)
        except DeferredTimeout:
            raise Unreachable(f"no answer in {_ANSWER_SECONDS} s") from None

    async def _post(self, content_type: str, body: bytes) -> Posted:
        headers = Headers(
            {
                "Content-Type": [content_type],
                "User-Agent": [f"imps-gateway-handset/{__version__}"],
            }
        )
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                response = await self._agent.request(
                    b"POST", self._url.encode("ascii"), headers, _Body(body)
                )
                received = await readBody(response)
            except _FAILURES as error:
                if _because(error, CancelledError):
                    raise CancelledError from None
                tls = _because(error, TlsError)
                raise Unreachable(_reason(error), permanent=tls) from None
            location = response.headers.getRawHeaders("Location", [""])[0]
            if response.code not in _REDIRECTS or not location:
                kind = response.headers.getRawHeaders("Content-Type", [""])[0]
                return Posted(response.code, kind, received)
            self._url = urljoin(self._url, location)
        raise Unreachable(f"redirected more than {_MOST_REDIRECTS} times")

    async def close(self) -> None:
        """Close the connection that was kept."""
        await self._pool.closeCachedConnections()


def _because(error: Exception, cause: type[Exception]) -> bool:
    """Whether it failed for that cause, as for the waiting that was ended."""
    reasons = getattr(error, "reasons", None) or ()
    return any(reason.check(cause) for reason in reasons)


def _reason(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)
    first = reasons[0].value if reasons else error
    if isinstance(first, TlsError) and "certificate verify failed" in str(first):
        return "the server's certificate is not trusted (--ca FILE names one that is)"
    return str(first)
