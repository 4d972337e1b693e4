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
from typing import Final

from gateway.errors import Malformed
from gateway.sip.headers import NAMES, TOKEN, CSeq, Fields, Headers, Via, canonical
from gateway.sip.model import (
    KeepAlive,
    Request,
    Response,
    SipMalformed,
    SipTooLarge,
    tag_of,
)
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
    "tag_of",
]

MAX_HEAD: Final = 65536
MAX_FIELDS: Final = 256
MAX_BODY: Final = 1 << 20


_EMPTY_LINE = re.compile(rb"\n\r?\n")
_FOLD = re.compile(r"[ \t]*+\r?\n[ \t]++")
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9][0-9])(?: (.*))?\Z", re.IGNORECASE)
_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+\Z", re.IGNORECASE)
# What Max-Forwards may be, and Content-Length mostly is.
_BYTE: Final = frozenset(map(str, range(256)))
_METHODS: Final = frozenset(
    "ACK BYE CANCEL INFO INVITE MESSAGE NOTIFY OPTIONS PRACK PUBLISH REFER REGISTER "
    "SUBSCRIBE UPDATE".split()
)


# The form nearly every response without a body has; what it does not match goes the
# long way, which takes all that this takes and more.
_PLAIN_RESPONSE = re.compile(
    rb"SIP/2\.0 ([1-6][0-9][0-9]) ([ -~]*)\r\n"
    rb"Via: ([!-+\--~][ -+\--~]*)\r\n"
    rb"From: (<[!#-;=?-~]+>;[!#-~]+)\r\n"
    rb"To: (<[!#-;=?-~]+>;[!#-~]+)\r\n"
    rb"Call-ID: ([!-~]+)\r\n"
    rb"CSeq: ([0-9]{1,9} [A-Z]+)\r\n"
    rb"(?:Server: ([!-~][ -~]*)\r\n)?"
    rb"Content-Length: 0\r\n\r\n"
)


def _plain_response(data: bytes) -> Response | None:
    match = _PLAIN_RESPONSE.fullmatch(data)
    if match is None:
        return None
    status, reason, via, sender, recipient, call_id, cseq, server = match.groups()
    fields: dict[str, str | tuple[str, ...]] = {
        "Via": via.rstrip().decode("ascii"),
        "From": sender.decode("ascii"),
        "To": recipient.decode("ascii"),
        "Call-ID": call_id.decode("ascii"),
        "CSeq": cseq.decode("ascii"),
    }
    if server is not None:
        fields["Server"] = server.rstrip().decode("ascii")
    fields["Content-Length"] = "0"
    return Response(
        status=int(status),
        reason=reason.strip().decode("ascii"),
        headers=Headers(fields),
    )


def parse(data: bytes, *, max_body: int = MAX_BODY) -> Request | Response:
    """Read one whole datagram (RFC 3261 18.3).

    Without Content-Length the body is the rest; bytes behind a shorter one are
    dropped. Raises SipMalformed and SipTooLarge.
    """
    if data[:4] == b"SIP/" and (plain := _plain_response(data)) is not None:
        return plain
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    end, start = head_end(data, 0)
    if end < 0:
        raise SipMalformed("no empty line ends the header")
    message, length = parse_head(data[:end])
    if length is None:
        length = len(data) - start
    elif length > len(data) - start:
        reason = "Content-Length is more than the datagram holds"
        raise SipMalformed(reason, _answerable(message))
    if length > max_body:
        raise SipTooLarge("the body is too long", _answerable(message))
    message.body = data[start : start + length]
    return message


def head_end(data: bytes | bytearray, begin: int) -> tuple[int, int]:
    """Find the first empty line: where it begins and where the body does, else -1, -1.

    Line ends of LF alone count, and so does a mix of both.
    """
    match = _EMPTY_LINE.search(data, begin)
    if match is None:
        return -1, -1
    end = match.start()
    if end and data[end - 1] == 13:
        end -= 1
    return end, match.end()


def parse_head(head: bytes) -> tuple[Request | Response, int | None]:
    """Read start line and fields; return the message and its Content-Length.

    ``head`` goes without the empty line. Raises SipMalformed and SipTooLarge.
    """
    if len(head) > MAX_HEAD:
        raise SipTooLarge("the header is too long")
    text = head.decode("utf-8", "replace")
    lines = text.split("\r\n")
    if len(lines) > MAX_FIELDS + 1:
        raise SipTooLarge("too many header fields")
    # Control characters call for more care: bare line ends, tabs, NUL.
    if not "".join(lines).isprintable():
        lines = _unfold(text)
    first = lines[0]
    fields: Fields = {}
    fault = ""
    known = NAMES.get
    del lines[0]
    for line in lines:
        sent, _, value = line.partition(": ")
        name = known(sent)
        if name is None or name in fields:
            if line[:1] == " ":  # folded: rare enough to begin again
                return parse_head(_FOLD.sub(" ", text).encode())
            fault = _odd_line(line, fields) or fault
        else:
            fields[name] = value.strip()
    if first[:4] in ("SIP/", "sip/"):
        return _response(first, Headers(fields), fault)
    return _request(first, Headers(fields), fault)


def _odd_line(line: str, fields: Fields) -> str:
    """Add a field that is repeated or oddly written; return what is wrong, if so."""
    sent, colon, value = line.partition(":")
    try:
        name = canonical(sent.rstrip(" \t"))
    except ValueError:
        return "a header line is not name: value"
    value = value.strip()
    before = fields.get(name)
    if before is None:
        fields[name] = value
    else:
        old = (before,) if isinstance(before, str) else before
        fields[name] = (*old, value)
    return "" if colon else "a header line is not name: value"


def _unfold(text: str) -> list[str]:
    """Split lines whatever ends them, joining folded ones (RFC 3261 7.3.1)."""
    # Lines are counted before they are joined: each costs the same work.
    if text.count("\n") > MAX_FIELDS:
        raise SipTooLarge("too many header fields")
    # NUL may stand in a quoted string (RFC 4475 3.1.1.2) and nowhere in a database.
    text = text.replace("\r\n", "\n").replace("\0", "\ufffd")
    if "\r" in text:
        raise SipMalformed("a carriage return without line feed in the header")
    return _FOLD.sub(" ", text).split("\n")


def _request(line: str, headers: Headers, fault: str) -> tuple[Request, int | None]:
    """Make a request of its parts, or raise with as much of it as there is."""
    method, _, rest = line.partition(" ")
    uri, _, version = rest.partition(" ")
    request = Request(method=method, uri=uri, headers=headers)
    if method not in _METHODS and TOKEN.match(method) is None:
        raise SipMalformed("the method is no token")
    if version != "SIP/2.0" and version.upper() != "SIP/2.0":
        status = 505 if _VERSION.match(version) else 400
        reason = "the line is not METHOD URI SIP/2.0"
        raise SipMalformed(reason, _answerable(request), status)
    if fault:
        raise SipMalformed(fault, _answerable(request))
    try:
        length = _check(headers, method)
        scheme, _, rest = uri.partition(":")
        if not rest or "<" in uri or '"' in uri or TOKEN.match(scheme) is None:
            raise Malformed("the Request-URI is none")
    except SipTooLarge as error:
        error.request = _answerable(request)
        raise
    except Malformed as error:
        raise SipMalformed(str(error), _answerable(request)) from None
    return request, length


def _answerable(message: Request | Response) -> Request | None:
    """Leave out what gets no answer: an ACK never, and without Via none can be sent."""
    if isinstance(message, Response) or message.method == "ACK":
        return None
    return message if "Via" in message.headers.fields else None


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
    reason = (match[2] or "").strip()
    return Response(status=int(match[1]), reason=reason, headers=headers), length


def _check(headers: Headers, method: str | None) -> int | None:
    """Check the fields no message goes without; return the Content-Length.

    RFC 3261 8.1.1 and 20. Each stands once, or two readers could see two messages.
    """
    fields = headers.fields
    try:
        sender, recipient, cseq = fields["From"], fields["To"], fields["CSeq"]
        call_id, _ = fields["Call-ID"], fields["Via"]
    except KeyError as error:
        raise Malformed(f"{error.args[0]} is missing") from None
    if not (
        isinstance(sender, str)
        and isinstance(recipient, str)
        and isinstance(cseq, str)
        and isinstance(call_id, str)
        and call_id
    ):
        raise Malformed("From, To, Call-ID and CSeq do not each stand once")
    number, _, named = cseq.partition(" ")
    plain = number.isdecimal() and number.isascii() and len(number) < 10
    if named != method or not plain:
        read = CSeq.parse(cseq)
        if method is not None and read.method != method:
            raise Malformed("CSeq names another method than the request line")
    for value in (sender, recipient):
        # ``<uri>;parameters`` needs no closer look.
        if value[0:1] != "<" or '"' in value or ">;" not in value:
            split_name_addr(value)
    hops = fields.get("Max-Forwards")
    if hops is not None and hops not in _BYTE and not _pads_byte(hops):
        raise Malformed("Max-Forwards is not one number up to 255")
    length = fields.get("Content-Length")
    if length is None:
        return None
    if length in _BYTE and isinstance(length, str):
        return int(length)
    return _length(length)


def _pads_byte(value: str | tuple[str, ...]) -> bool:
    """Whether this is a number of _BYTE behind zeros (RFC 4475 3.1.1.1)."""
    return isinstance(value, str) and value[:1] == "0" and value.lstrip("0") in _BYTE


def _length(value: str | tuple[str, ...]) -> int:
    """Read Content-Length; repeated it must be the same (a smuggler's favourite)."""
    if not isinstance(value, str):
        if len(set(value)) > 1:
            raise Malformed("Content-Length stands twice and differs")
        value = value[0]
    if not (value.isascii() and value.isdecimal()):
        raise Malformed("Content-Length is not a number")
    if len(value) > 10:
        raise SipTooLarge("Content-Length is beyond any limit")
    return int(value)


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

    @property
    def half(self) -> bool:
        """Whether a part of a message waits for its rest."""
        return self._message is not None or len(self._buffer) > 0

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
            if buffer and buffer[0] in b"\r\n":
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
        buffer, mark = self._buffer, b"\r\n\r\n"
        while buffer and buffer[0] in mark:
            if buffer.startswith(mark):
                del buffer[:4]
                return KeepAlive()
            if len(buffer) < 4 and mark.startswith(bytes(buffer)):
                return None  # perhaps the first part of a keep-alive
            del buffer[:1]
        return None

    def _read_head(self) -> bool:
        """Read start line and fields once they are all there."""
        buffer = self._buffer
        if not buffer or buffer[0] in b"\r\n":
            return False
        # Look again only at what may begin the blank line.
        end, start = head_end(buffer, max(0, self._seen - 3))
        if end < 0:
            self._seen = len(buffer)
            if len(buffer) > MAX_HEAD:
                raise SipTooLarge("the header is too long")
            return False
        self._seen = 0
        message, length = parse_head(bytes(buffer[:end]))
        if length is None:
            reason = "a stream needs Content-Length"
            raise SipMalformed(reason, _answerable(message))
        if length > self._max_body:
            raise SipTooLarge("the body is too long", _answerable(message))
        del buffer[:start]
        self._message, self._length = message, length
        return True
