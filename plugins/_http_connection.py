"""One HTTP connection: replies in the order of the requests, within limits of time.

Requests of one connection are served one after the other, since POST is not safe to
reorder (RFC 9112 9.3.2). The front (``plugins/http.py``) owns what connections share:
settings, the date line, the sweep that calls ``expire``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import Malformed, Unreachable
from gateway.igateway import Peer, Reply
from gateway.log import Logger
from plugins._http_reader import Phase, Request, RequestReader
from plugins._http_replies import (
    CONTINUE,
    INTERNAL,
    LATE_BODY,
    LATE_HEAD,
    NO_STORE,
    Refusal,
    refusal_of,
    render,
)

if TYPE_CHECKING:
    from plugins.http import Front

PIPELINED = 8
"""Whole requests that wait on a connection before no more is read from it."""
LINGER = 2.0
"""Seconds to go on reading after a last reply, lest a reset overtakes it."""
_CLOSE = b"Connection: close\r\n"
_KEEP = b"Connection: keep-alive\r\n"


@implementer(IHandshakeListener, IPushProducer)
class HttpConnection(Protocol):
    """The server's end of one connection."""

    _log = Logger()

    def __init__(self, front: Front) -> None:
        self._front = front
        self._reader = RequestReader(front.route, front.config.max_body, front.wanted)
        self._queue: list[Request | Refusal] = []
        self._phase = Phase.IDLE
        self._serving = False
        self._advancing = False
        self._reading = True
        self._writable = True
        self._closing = False
        self._gone = False
        self._peer: Peer | None = None
        self._direct: tcp.Connection | None = None
        self.address = ""
        self.port = 0
        self.deadline = inf
        """When the sweep calls ``expire``, in the seconds of the reactor."""

    # The transport's side.

    def connectionMade(self) -> None:
        """Take the connection, or refuse it with 503 when there are too many."""
        transport: Any = self.transport
        host = transport.getPeer()
        self.address = getattr(host, "host", "")
        self.port = getattr(host, "port", 0)
        # Written straight to the socket a reply costs one system call; by way of the
        # reactor four. What TLS wraps must never be written past it.
        if isinstance(transport, tcp.Connection) and not transport.TLS:
            self._direct = transport
        transport.registerProducer(self, True)
        config = self._front.config
        self._expect_within(
            config.body_timeout if self._front.secure else config.header_timeout
        )
        refusal = self._front.admit(self)
        if refusal is not None:
            self._last_words(refusal)

    def handshakeCompleted(self) -> None:
        """Give the first request its time once TLS stands."""
        if not self._closing:
            self._expect_within(self._front.config.header_timeout)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of requests."""
        if self._closing:
            return  # lingering: read to let the last reply through, and dropped
        reader = self._reader
        try:
            found = reader.feed(data)
        except Exception:
            self._log.failure("reading a request from {address}", address=self.address)
            found = (Refusal(INTERNAL.status, INTERNAL.text, close=True),)
        if found:
            self._queue.extend(found)
            if not self._serving:
                self._advance()
            elif len(self._queue) >= PIPELINED and self._reading:
                self._reading = False
                self.transport.pauseProducing()  # type: ignore[union-attr]
        if reader.phase is not self._phase:
            self._phase = reader.phase
            if not self._serving and not self._closing:
                self._await_more()
        if reader.continue_owed:
            self._say_continue()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Forget the connection; what was begun goes on."""
        self._gone = self._closing = True
        if self._peer is not None:
            self._peer.gone = True
        self._queue.clear()
        self._direct = None
        self._front.forget(self)

    def pauseProducing(self) -> None:
        """Serve no further request: the client does not read the replies."""
        self._writable = False
        if not self._serving and not self._closing:
            self._expect_within(self._front.config.body_timeout)

    def resumeProducing(self) -> None:
        """Go on: what was written has left."""
        self._writable = True
        if not self._serving and not self._closing:
            self._advance()

    def stopProducing(self) -> None:
        """Follow the producer interface; the connection is about to be lost."""

    # The front's side.

    @property
    def busy(self) -> bool:
        """Tell whether a request is being served or waits to be."""
        return self._serving or bool(self._queue)

    def expire(self) -> None:
        """End a connection whose time is over: 408 in the middle of a request."""
        if self._closing or not self._writable or self._phase is Phase.IDLE:
            self.abort()
        elif self._phase is Phase.HEAD:
            self._last_words(LATE_HEAD)
        else:
            self._last_words(LATE_BODY)

    def drain(self) -> None:
        """Take nothing new; close at once, or after the reply under way."""
        if not self.busy and not self._closing:
            self._close()

    def abort(self) -> None:
        """Drop the connection."""
        self._closing = True
        self.deadline = inf
        if not self._gone:
            self.transport.abortConnection()  # type: ignore[union-attr]

    # Serving.

    def _advance(self) -> None:
        """Serve what waits, one request at a time."""
        self._advancing = True
        while self._queue and self._writable and not self._serving:
            item = self._queue.pop(0)
            if isinstance(item, Refusal):
                self._last_words(item)
            elif item.refusal is not None:
                self._answer(item, item.refusal)
            else:
                self._serving = True
                self.deadline = inf
                Deferred.fromCoroutine(self._serve(item))
        self._advancing = False
        if not self._reading and not self._queue and not self._closing:
            self._reading = True
            self.transport.resumeProducing()  # type: ignore[union-attr]
        if self._reader.continue_owed:
            self._say_continue()

    def _say_continue(self) -> None:
        """Ask for the body that a client holds back, in the order of the replies."""
        if not self.busy and not self._closing:
            self._reader.continue_owed = False
            self._write(CONTINUE)

    async def _serve(self, request: Request) -> None:
        """Let the gateway answer one request."""
        front = self._front
        body = request.body
        outcome: Reply | Refusal
        try:
            media_type = request.headers.get(b"content-type", b"").decode("latin-1")
            if front.moved is not None and front.sap.opens_session(media_type, body):
                outcome = front.moved
            else:
                peer = self._peer = front.peer_of(self, request.headers)
                outcome = await front.sap.exchange(media_type, body, peer)
        except Malformed as error:
            outcome = refusal_of(error)
        except Unreachable:
            outcome = NO_STORE
        except Exception:
            self._log.failure("serving a request from {address}", address=self.address)
            outcome = INTERNAL
        self._serving = False
        self._answer(request, outcome)
        # Answered at once, the loop in _advance is still there to go on.
        if not self._advancing:
            self._advance()

    def _answer(self, request: Request, outcome: Reply | Refusal) -> None:
        """Write one reply and see to what comes after it."""
        front = self._front
        keep = request.keep_alive and not front.stopping
        if isinstance(outcome, Refusal):
            front.complain(self.address, outcome)
            keep = keep and not outcome.close
        if self._gone:
            if isinstance(outcome, Reply):
                front.sap.unwritten(outcome)
            return
        connection = b"" if keep else _CLOSE
        if keep and request.old:
            connection = _KEEP
        if isinstance(outcome, Refusal):
            with_body = request.method != b"HEAD"
            data = render(
                front.date, outcome, connection=connection, with_body=with_body
            )
        elif outcome.body:
            data = b"".join(
                (
                    b"HTTP/1.1 200 OK\r\nContent-Type: ",
                    outcome.content_type.encode("latin-1"),
                    b"\r\nContent-Length: %d\r\n" % len(outcome.body),
                    front.date,
                    connection,
                    b"\r\n",
                    outcome.body,
                )
            )
        else:
            data = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%b%b\r\n" % (
                front.date,
                connection,
            )
        if not self._write(data) and isinstance(outcome, Reply):
            front.sap.unwritten(outcome)
        elif keep:
            self._await_more()
        else:
            self._close()

    def _write(self, data: bytes) -> bool:
        """Write, straight to the socket while it takes all; False: nobody is there."""
        direct = self._direct
        if direct is not None:
            sent = direct.writeSomeData(data)
            if not isinstance(sent, int):
                self.abort()
                return False
            if sent == len(data):
                return True
            # Order holds only if all that follows is queued behind the rest.
            self._direct = None
            data = data[sent:]
        self.transport.write(data)  # type: ignore[union-attr]
        return True

    # Time and the end.

    def _expect_within(self, seconds: float) -> None:
        self.deadline = self._front.seconds() + seconds

    def _await_more(self) -> None:
        """Set the time by which the next thing must have arrived."""
        config = self._front.config
        if not self._writable:
            self._expect_within(config.body_timeout)
        elif self._phase is Phase.IDLE:
            self._expect_within(config.idle_timeout)
        elif self._phase is Phase.HEAD:
            self._expect_within(config.header_timeout)
        else:
            self._expect_within(config.body_timeout)

    def _last_words(self, refusal: Refusal) -> None:
        """Refuse, and end the connection whatever more arrives on it."""
        self._front.complain(self.address, refusal)
        self._write(render(self._front.date, refusal, connection=_CLOSE))
        self._close(linger=True)

    def _close(self, *, linger: bool = False) -> None:
        """Close after what was written; ``linger`` reads on for a while.

        A socket closed with bytes unread sends a reset, which can make the client
        lose the reply (RFC 9112 9.6).
        """
        if self._closing:
            return
        self._closing = True
        self._queue.clear()
        self._expect_within(LINGER)
        transport: Any = self.transport
        transport.unregisterProducer()
        if not self._reading:
            self._reading = True
            transport.resumeProducing()
        if linger and isinstance(transport, tcp.Connection):
            transport.loseWriteConnection()
        else:
            transport.loseConnection()
