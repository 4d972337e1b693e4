"""HTTP/1.x requests out of a stream of bytes: bounds and strictness, no socket.

llhttp (httptools) splits the bytes (RFC 9112); this module holds the limits, finds
what llhttp lets pass (RFC 9112 3.2 Host, 6.1 transfer codings), and turns every fault
into the answer it gets.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httptools

from plugins._http_replies import NOT_POST, Refusal

MAX_HEAD = 16 * 1024
"""Bytes of request line and headers, trailers included."""
MAX_FIELDS = 100
MAX_TARGET = 4096

NEEDED = frozenset(
    (
        b"connection",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"transfer-encoding",
    )
)
"""Headers that the reader itself looks at, in lower case."""
# A whole request line whose method llhttp does not know: 501 instead of 400.
_REQUEST_LINE = re.compile(rb"\s*[!-~]{1,32} [!-~]+ HTTP/1\.[01]\r\n")

Router = Callable[[bytes, bytes], Refusal | None]
"""Tells by method and request target whether a request is refused."""


class Phase(enum.Enum):
    """Where in a request the stream stands."""

    IDLE = "between requests"
    HEAD = "in the headers"
    BODY = "in the body"


@dataclass(slots=True)
class Request:
    """One whole request; ``refusal`` is set when it is answered without being served.

    ``headers`` holds, in lower case, those the binding asked for.
    """

    method: bytes
    headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool
    old: bool
    """HTTP/1.0: a persistent connection must be said in the reply."""
    refusal: Refusal | None


class _Stop(Exception):
    """Ends the stream from inside a parser callback; the refusal is in the reader."""


class RequestReader:
    """Reads the requests of one connection.

    ``feed`` gives whole requests in order. A ``Refusal`` among them is the last thing
    there is: the stream cannot be read on and later bytes are ignored.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_done",
        "_fields",
        "_finished",
        "_headers",
        "_length",
        "_max_body",
        "_method",
        "_old",
        "_parser",
        "_refusal",
        "_route",
        "_silent",
        "_stop",
        "_target",
        "_upgrade",
        "_used",
        "_wanted",
        "continue_owed",
        "phase",
    )

    def __init__(
        self,
        route: Router,
        max_body: int,
        wanted: frozenset[bytes] = NEEDED,
    ) -> None:
        """``wanted`` names the headers to keep: those ``NEEDED``, and others."""
        self._route = route
        self._max_body = max_body
        self._wanted = wanted
        self._parser = httptools.HttpRequestParser(self)
        self._done: list[Request | Refusal] = []
        self._stop: Refusal | None = None
        self._finished = False
        self._silent = 0  # bytes taken since llhttp last reported anything
        self.phase = Phase.IDLE
        self.continue_owed = False
        """The client waits for "100 Continue" before it sends the body."""
        self._start()

    def _start(self) -> None:
        self._method = b""
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._length = 0
        self._used = 0
        self._fields = 0
        self._old = False
        self._upgrade = False
        self._refusal: Refusal | None = None

    def feed(self, data: bytes) -> Sequence[Request | Refusal]:
        """Take the next bytes; give what is complete now."""
        if self._finished:
            return ()
        self._silent += len(data)
        try:
            while data:
                data = self._parse(data)
        except httptools.HttpParserError as error:
            if not self._finished:
                self._fail(self._refusal_of(error, data))
        else:
            if self._silent > MAX_HEAD:
                self._fail(_refuse(431, "The headers are too long."))
        if not self._done:
            return ()
        done, self._done = self._done, []
        return done

    def _fail(self, refusal: Refusal) -> None:
        self._done.append(refusal)
        self._finished = True
        self.continue_owed = False
        self.phase = Phase.IDLE

    def _refusal_of(self, error: httptools.HttpParserError, data: bytes) -> Refusal:
        if self._stop is not None:
            return self._stop
        if isinstance(error, httptools.HttpParserCallbackError):
            raise error.__context__ or error  # our own defect, not the client's
        if isinstance(error, httptools.HttpParserInvalidMethodError):
            if not self._done and _REQUEST_LINE.match(data):
                return _refuse(501, "The method is not known.")
            return _refuse(400, "This is not HTTP.")
        text = str(error)
        if "HTTP version" in text:
            return _refuse(505, "HTTP/1.1 and HTTP/1.0 are spoken here.")
        return _refuse(400, f"Not HTTP: {text}.")

    def _parse(self, data: bytes) -> bytes:
        """Parse, and give what is still to be parsed.

        llhttp takes everything after a head with Upgrade for another protocol, the
        body included, while the wish is one to ignore (RFC 9110 7.8; Java's HttpClient
        asks for h2c in every first request). So that head is given once more, without
        the wish, to a new parser.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._method == b"CONNECT":
                self._fail(_refuse(405, NOT_POST.text, NOT_POST.headers))
                return b""
            rest = data[upgrade.args[0] :]
            self._parser = httptools.HttpRequestParser(self)
            return self._head_without_upgrade() + rest
        return b""

    def _head_without_upgrade(self) -> bytes:
        version = b"1.0" if self._old else b"1.1"
        lines = [b"%b %b HTTP/%b" % (self._method, self._target, version)]
        options = self._headers.pop(b"connection").lower().split(b",")
        kept = [word for word in map(bytes.strip, options) if word != b"upgrade"]
        lines += [b"%b: %b" % item for item in self._headers.items()]
        lines += [b"connection: " + b", ".join(kept), b"", b""]
        return b"\r\n".join(lines)

    # What llhttp reports.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._start()
        self._silent = 0
        self.phase = Phase.HEAD

    def on_url(self, part: bytes) -> None:
        """Take the request target, or a part of it."""
        self._target += part
        self._silent = 0
        if len(self._target) > MAX_TARGET:
            self._refuse(414, "The request target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header or trailer."""
        self._silent = 0
        self._fields += 1
        self._used += len(name) + len(value) + 4
        if self._used > MAX_HEAD or self._fields > MAX_FIELDS:
            self._refuse(431, "The headers are too long.")
        name = name.lower()
        if name in self._wanted and self.phase is Phase.HEAD:
            headers = self._headers
            if name not in headers:
                headers[name] = value
            elif name in (b"host", b"content-type"):
                self._refuse(400, "A header appears twice that may appear once.")
            else:
                headers[name] = b"%b, %b" % (headers[name], value)

    def on_headers_complete(self) -> None:
        """Decide by the head alone whatever it decides."""
        parser = self._parser
        self._method = parser.get_method()
        version = parser.get_http_version()
        headers = self._headers
        if version == "1.1":
            if b"host" not in headers:
                self._refuse(400, "HTTP/1.1 needs a Host.")
        elif version == "1.0":
            self._old = True
        else:
            self._refuse(505, "HTTP/1.1 and HTTP/1.0 are spoken here.")
        self.phase = Phase.BODY
        if parser.should_upgrade():
            self._upgrade = True
            return
        if b"transfer-encoding" in headers:
            self._check_coding(headers[b"transfer-encoding"])
        elif int(headers.get(b"content-length", 0)) > self._max_body:
            self._too_large()
        self._refusal = self._route(self._method, self._target)
        if b"expect" in headers:
            self._expect(headers[b"expect"])

    def _check_coding(self, coding: bytes) -> None:
        if self._old:
            self._refuse(400, "HTTP/1.0 has no transfer codings.")
        if coding.strip().lower() != b"chunked":
            self._refuse(501, "The only transfer coding known is chunked.")

    def _expect(self, expectation: bytes) -> None:
        """Follow RFC 9110 10.1.1; HTTP/1.0 clients cannot mean it."""
        if self._old:
            return
        if expectation.strip().lower() != b"100-continue":
            self._refuse(417, "The only expectation known is 100-continue.")
        if self._refusal is not None:
            # The body that was held back will never be asked for.
            refusal = self._refusal
            self._refuse(refusal.status, refusal.text, refusal.headers)
        self.continue_owed = True

    def on_chunk_header(self) -> None:
        """Know that a chunk begins: progress, though no byte of the body."""
        self._silent = 0

    def on_body(self, part: bytes) -> None:
        """Take a part of the body; that of a refused request is not kept."""
        self._silent = 0
        self.continue_owed = False
        self._length += len(part)
        if self._length > self._max_body:
            self._too_large()
        if self._refusal is not None:
            return
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytearray):
            self._body += part
        else:
            self._body = bytearray(self._body) + part

    def on_message_complete(self) -> None:
        """Finish a request."""
        if self._upgrade:
            return
        self._silent = 0
        self.phase = Phase.IDLE
        self.continue_owed = False
        keep_alive = self._parser.should_keep_alive()
        body = self._body
        self._done.append(
            Request(
                self._method,
                self._headers,
                body if isinstance(body, bytes) else bytes(body),
                keep_alive,
                self._old,
                self._refusal,
            )
        )
        # An idle connection keeps nothing of its last request.
        self._body = self._target = b""
        self._headers = {}
        # What follows a "Connection: close" is none of ours (RFC 9112 9.6).
        self._finished = not keep_alive

    def _too_large(self) -> None:
        self._refuse(413, f"The most that is taken is {self._max_body} bytes.")

    def _refuse(self, status: int, text: str, headers: str = "") -> None:
        self._stop = _refuse(status, text, headers)
        raise _Stop


def _refuse(status: int, text: str, headers: str = "") -> Refusal:
    return Refusal(status, text, headers, close=True)
