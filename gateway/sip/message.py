"""SIP messages: bytes to requests and responses and back, on datagrams and streams.

RFC 3261 7 (messages), 18.3 (framing), 20 (mandatory fields), 25.1 (grammar). Bytes are
split here and the fields without which nothing can be answered are checked; every other
value is read on demand, see ``headers`` and ``uri``.

Lenient: folded lines, LF line ends, compact and odd-case names, blanks before the
colon, leading line ends, bytes that are no UTF-8 (U+FFFD instead). Strict: the start
line, Content-Length, and anything of which two readers could think differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import Malformed, TooLarge
from gateway.sip.headers import TOKEN, CSeq, Headers, Via, canonical, split_list
from gateway.sip.reasons import REASONS
from gateway.sip.uri import NameAddr, Uri, split_name_addr

__all__ = [
    "CSeq",
    "Headers",
    "KeepAlive",
    "NameAddr",
    "Request",
    "Response",
    "SipMalformed",
    "SipTooLarge",
    "StreamParser",
    "Uri",
    "Via",
    "parse",
]

MAX_HEAD: Final = 65536
MAX_FIELDS: Final = 256
MAX_BODY: Final = 1 << 20


@dataclass(slots=True)
class _Message:
    """What requests and responses share: fields, body and the values in them."""

    headers: Headers
    body: bytes = field(repr=False)

    @property
    def via(self) -> Via:
        """The topmost Via. Raises Malformed."""
        text = self.headers.get("Via") or ""
        if "," in text:
            text = (split_list(text) or [""])[0]
        return Via.parse(text)

    @property
    def cseq(self) -> CSeq:
        """The CSeq. Raises Malformed."""
        return CSeq.parse(self.headers.get("CSeq") or "")

    @property
    def call_id(self) -> str:
        """The Call-ID, empty when there is none."""
        return self.headers.get("Call-ID") or ""

    @property
    def from_(self) -> NameAddr:
        """The From value. Raises Malformed."""
        return NameAddr.parse(self.headers.get("From") or "")

    @property
    def to(self) -> NameAddr:
        """The To value. Raises Malformed."""
        return NameAddr.parse(self.headers.get("To") or "")

    @property
    def content_type(self) -> str:
        """The Content-Type with its parameters, empty when there is none."""
        return self.headers.get("Content-Type") or ""

    def _encode(self, start_line: str) -> bytes:
        lines = [start_line]
        fields = self.headers._fields
        # Via first: whoever routes the message finds it without reading on.
        for value in fields.get("Via", ()):
            lines.append(f"Via: {value}")
        for name, values in fields.items():
            if name != "Via" and name != "Content-Length":
                for value in values:
                    lines.append(f"{name}: {value}")
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        text = "\r\n".join(lines)
        # One count finds a line end in any value, whoever brought it in.
        ends = len(lines) + 1
        if text.count("\n") != ends or text.count("\r") != ends or "\0" in text:
            raise ValueError("a SIP header value holds a line end or NUL")
        return text.encode() + self.body


@dataclass(slots=True, kw_only=True)
class Request(_Message):
    """A SIP request; ``uri`` is the text of the Request-URI."""

    method: str
    uri: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Write the request with a Content-Length that is right.

        Raises ValueError when a value holds a line end or NUL: a defect of ours.
        """
        return self._encode(f"{self.method} {self.uri} SIP/2.0")

    __bytes__ = encode

    def response(self, status: int, reason: str = "", *, tag: str = "") -> Response:
        """Begin the response to this request (RFC 3261 8.2.6.2).

        ``reason`` defaults to the usual phrase; ``tag`` is added to a To without one
        and left out of a 100.
        """
        fields = self.headers._fields
        copied = {
            name: fields[name]
            for name in ("Via", "From", "To", "Call-ID", "CSeq")
            if name in fields
        }
        if status == 100 and "Timestamp" in fields:
            copied["Timestamp"] = fields["Timestamp"]
        if tag and status != 100 and "To" in fields:
            to = fields["To"][0]
            if tag_of(to) is None:
                copied["To"] = (f"{to};tag={tag}",)
        return Response(
            status=status,
            reason=reason or REASONS.get(status, ""),
            headers=Headers.of(copied),
        )


@dataclass(slots=True, kw_only=True)
class Response(_Message):
    """A SIP response; ``reason`` may be empty."""

    status: int
    reason: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Write the response; as ``Request.encode``."""
        return self._encode(f"SIP/2.0 {self.status} {self.reason}")

    __bytes__ = encode


class SipMalformed(Malformed):
    """Bytes that are no SIP message; ``request`` is what could be read of a request.

    ``status`` is the answer for it: 400, or 505 for another version, 513 for a size.
    ``request`` is None for responses and for what has no request line.
    """

    status = 400

    def __init__(
        self, reason: str, request: Request | None = None, status: int = 400
    ) -> None:
        super().__init__(reason)
        self.request = request
        self.status = status


class SipTooLarge(SipMalformed, TooLarge):
    """A limit on the head, the number of fields or the body was passed: 513."""

    def __init__(self, reason: str, request: Request | None = None) -> None:
        super().__init__(reason, request, 513)


class KeepAlive:
    """A double line end on a stream, to be answered with one (RFC 5626 3.5.1)."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeepAlive)

    def __hash__(self) -> int:
        return hash(KeepAlive)


_TAG = re.compile(r";\s*+tag\s*+=\s*+([^\s;\"<>]++)", re.IGNORECASE)


def tag_of(value: str) -> str | None:
    """Return the tag of a From or To value without reading the rest of it."""
    match = _TAG.search(value, value.rfind(">") + 1)
    return match[1] if match is not None else None


_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(r"[ \t]*+\n[ \t]++")
_REQUEST_LINE = re.compile(r"([^ ]++) ([^ ]++) ([^ ]++)\Z")
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9][0-9])(?: (.*))?\Z", re.IGNORECASE)
_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+\Z", re.IGNORECASE)


def parse(data: bytes, *, max_body: int = MAX_BODY) -> Request | Response:
    """Read one whole datagram (RFC 3261 18.3).

    Without Content-Length the body is the rest; bytes behind a shorter one are
    dropped. Raises SipMalformed and SipTooLarge.
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    start = end + 4
    # A line end of LF alone may come before: then the head ends there.
    if end < 0 or b"\n\n" in data[:end] or b"\n\r\n" in data[:end]:
        match = _BLANK_LINE.search(data)
        if match is None:
            raise SipMalformed("no empty line ends the header")
        end, start = match.span()
    message, length = parse_head(data[:end])
    if length is None:
        length = len(data) - start
    request = message if isinstance(message, Request) else None
    if length > len(data) - start:
        raise SipMalformed("Content-Length is more than the datagram holds", request)
    if length > max_body:
        raise SipTooLarge("the body is too long", request)
    message.body = data[start : start + length]
    return message


def parse_head(head: bytes) -> tuple[Request | Response, int | None]:
    """Read start line and fields; return the message and its Content-Length.

    ``head`` goes without the empty line. Raises SipMalformed and SipTooLarge.
    """
    if len(head) > MAX_HEAD:
        raise SipTooLarge("the header is too long")
    text = head.decode("utf-8", "replace")
    lines = text.split("\r\n")
    ends = len(lines) - 1
    if (
        text.count("\n") != ends
        or text.count("\r") != ends
        or "\n " in text
        or "\n\t" in text
    ):
        lines = _unfold(text)
    fault = "NUL in the header" if "\0" in text else ""
    if len(lines) > MAX_FIELDS + 1:
        raise SipTooLarge("too many header fields")
    fields: dict[str, tuple[str, ...]] = {}
    first, position = lines[0], 0
    del lines[0]
    for line in lines:
        position = line.find(":")
        try:
            name = canonical(line[:position].rstrip(" \t"))
        except ValueError:
            fault = fault or "a header line is not name: value"
            continue
        value = line[position + 1 :].strip(" \t")
        before = fields.get(name)
        fields[name] = (value,) if before is None else (*before, value)
    headers = Headers.of(fields)
    if first[:4] in ("SIP/", "sip/"):
        return _response(first, headers, fault)
    return _request(first, headers, fault)


def _unfold(text: str) -> list[str]:
    """Split lines whatever ends them, joining folded ones (RFC 3261 7.3.1)."""
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        raise SipMalformed("a carriage return without line feed in the header")
    return _FOLD.sub(" ", text).split("\n")


def _request(line: str, headers: Headers, fault: str) -> tuple[Request, int | None]:
    """Make a request of its parts, or raise with as much of it as there is."""
    match = _REQUEST_LINE.match(line)
    if match is None or TOKEN.match(match[1]) is None:
        # Enough to answer by: the method may still be told from the CSeq.
        method = line.partition(" ")[0]
        readable = TOKEN.match(method) is not None and "Via" in headers
        partial = Request(method=method, uri="", headers=headers) if readable else None
        raise SipMalformed("the request line is not METHOD URI SIP/2.0", partial)
    request = Request(method=match[1], uri=match[2], headers=headers)
    if match[3] != "SIP/2.0" and match[3].upper() != "SIP/2.0":
        status = 505 if _VERSION.match(match[3]) else 400
        raise SipMalformed("the version is not SIP/2.0", request, status)
    if fault:
        raise SipMalformed(fault, request)
    try:
        length = _check(headers, request.method)
        _check_uri(request.uri)
        hops = headers.get("Max-Forwards")
        if hops is not None and not _small_number(hops, 255):
            raise Malformed("Max-Forwards is not a number up to 255")
    except SipTooLarge as error:
        error.request = request
        raise
    except Malformed as error:
        raise SipMalformed(str(error), request) from None
    return request, length


def _response(line: str, headers: Headers, fault: str) -> tuple[Response, int | None]:
    """Make a response of its parts."""
    match = _STATUS_LINE.match(line)
    if match is None:
        raise SipMalformed("the status line is not SIP/2.0 CODE REASON")
    if fault:
        raise SipMalformed(fault)
    try:
        length = _check(headers, None)
    except SipMalformed:
        raise
    except Malformed as error:
        raise SipMalformed(str(error)) from None
    response = Response(
        status=int(match[1]), reason=(match[2] or "").strip(), headers=headers
    )
    return response, length


_SINGLE = ("From", "To", "Call-ID", "CSeq")


def _check(headers: Headers, method: str | None) -> int | None:
    """Check the fields no message goes without; return the Content-Length.

    RFC 3261 8.1.1 and 20. Each stands once, or two readers could see two messages.
    """
    fields = headers._fields
    for name in _SINGLE:
        values = fields.get(name)
        if values is None:
            raise Malformed(f"{name} is missing")
        if len(values) > 1:
            raise Malformed(f"{name} stands twice")
    if not fields["Call-ID"][0]:
        raise Malformed("Call-ID is empty")
    cseq = CSeq.parse(fields["CSeq"][0])
    if method is not None and cseq.method != method:
        raise Malformed("CSeq names another method than the request line")
    split_name_addr(fields["From"][0])
    split_name_addr(fields["To"][0])
    if "Via" not in fields:
        raise Malformed("Via is missing")
    if len(fields.get("Max-Forwards", ())) > 1:
        raise Malformed("Max-Forwards stands twice")
    lengths = fields.get("Content-Length")
    if lengths is None:
        return None
    if len(lengths) > 1 and len(set(lengths)) > 1:
        raise Malformed("Content-Length stands twice and differs")
    text = lengths[0]
    if not (text.isascii() and text.isdigit()):
        raise Malformed("Content-Length is not a number")
    if len(text) > 10:
        raise SipTooLarge("Content-Length is beyond any limit")
    return int(text)


def _check_uri(uri: str) -> None:
    """Refuse what is no Request-URI at all; which schemes are served is the user's."""
    if uri[:4] == "sip:" and "<" not in uri and '"' not in uri:
        return
    scheme, colon, rest = uri.partition(":")
    if not colon or not rest or "<" in uri or '"' in uri or ">" in uri:
        raise Malformed("the Request-URI is none")
    if TOKEN.match(scheme) is None:
        raise Malformed("the scheme of the Request-URI is none")


def _small_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most


class StreamParser:
    """Cuts a byte stream into messages (RFC 3261 18.3, RFC 5626 3.5.1).

    Content-Length is mandatory here. After an error the stream is dead: where the next
    message begins is unknown.
    """

    __slots__ = ("_buffer", "_length", "_max_body", "_message", "_seen", "fault")

    def __init__(self, *, max_body: int = MAX_BODY) -> None:
        self._buffer = bytearray()
        self._seen = 0
        self._message: Request | Response | None = None
        self._length = 0
        self._max_body = max_body
        self.fault: SipMalformed | None = None
        """Why the stream is dead; the next ``feed`` raises it."""

    def feed(self, data: bytes) -> list[Request | Response | KeepAlive]:
        """Take bytes and return what is complete, in order.

        Raises SipMalformed or SipTooLarge when the very next thing is no message. What
        came whole before the fault in the same bytes is returned first: then
        ``fault`` is set, and the next call raises it.
        """
        found: list[Request | Response | KeepAlive] = []
        if self.fault is None:
            self._buffer += data
            try:
                while (item := self._next()) is not None:
                    found.append(item)
            except SipMalformed as error:
                self.fault = error
                self._buffer.clear()
        if self.fault is not None and not found:
            raise self.fault
        return found

    def _next(self) -> Request | Response | KeepAlive | None:
        """Take one thing off the buffer; None when it is not all there."""
        buffer = self._buffer
        if self._message is None:
            if buffer[:1] in (b"\r", b"\n"):
                kept = self._skip_line_ends()
                if kept is not None:
                    return kept
            if not self._read_head():
                return None
        message = self._message
        if message is None or len(buffer) < self._length:
            return None
        message.body = bytes(buffer[: self._length])
        del buffer[: self._length]
        self._message = None
        return message

    def _skip_line_ends(self) -> KeepAlive | None:
        """Drop line ends between messages; two of CR LF are a keep-alive."""
        buffer = self._buffer
        if buffer.startswith(b"\r\n\r\n"):
            del buffer[:4]
            return KeepAlive()
        if bytes(buffer) in (b"\r", b"\r\n", b"\r\n\r"):
            return None  # perhaps the first half of a keep-alive
        while buffer[:1] in (b"\r", b"\n"):
            if buffer.startswith(b"\r\n\r\n"):
                break
            del buffer[:1]
        return None

    def _read_head(self) -> bool:
        """Read start line and fields once they are all there."""
        buffer = self._buffer
        if not buffer or buffer[:1] in (b"\r", b"\n"):
            return False
        # Look again only at what may begin the blank line.
        match = _BLANK_LINE.search(buffer, max(0, self._seen - 3))
        if match is None:
            self._seen = len(buffer)
            if len(buffer) > MAX_HEAD:
                raise SipTooLarge("the header is too long")
            return False
        self._seen = 0
        message, length = parse_head(bytes(buffer[: match.start()]))
        request = message if isinstance(message, Request) else None
        if length is None:
            raise SipMalformed("a stream needs Content-Length", request)
        if length > self._max_body:
            raise SipTooLarge("the body is too long", request)
        del buffer[: match.end()]
        self._message, self._length = message, length
        return True
