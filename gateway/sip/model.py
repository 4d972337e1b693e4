"""The values that SIP messages are: requests, responses and what is wrong with bytes.

RFC 3261 7 (messages), 8.2.6.2 (how a response begins), 20 (fields).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import Malformed, TooLarge
from gateway.sip.headers import CSeq, Fields, Headers, Via, split_list
from gateway.sip.reasons import REASONS
from gateway.sip.uri import NameAddr

_COPIED: Final = ("Via", "From", "To", "Call-ID", "CSeq")


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
        fields = self.headers.fields
        # Via first: whoever routes the message finds it without reading on.
        via = fields.get("Via")
        if via is not None:
            _write("Via", via, lines)
        for name, value in fields.items():
            if name == "Via" or name == "Content-Length":
                continue
            if isinstance(value, str):
                lines.append(f"{name}: {value}")
            else:
                _write(name, value, lines)
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        text = "\r\n".join(lines)
        # One count finds a line end in any value, whoever brought it in.
        ends = len(lines) + 1
        if text.count("\n") != ends or text.count("\r") != ends or "\0" in text:
            raise ValueError("a SIP header value holds a line end or NUL")
        return text.encode() + self.body


def _write(name: str, value: str | tuple[str, ...], lines: list[str]) -> None:
    for single in (value,) if isinstance(value, str) else value:
        lines.append(f"{name}: {single}")


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
        fields = self.headers.fields
        copied: Fields = {name: fields[name] for name in _COPIED if name in fields}
        if status == 100 and "Timestamp" in fields:
            copied["Timestamp"] = fields["Timestamp"]
        to = copied.get("To")
        if tag and status != 100 and isinstance(to, str) and tag_of(to) is None:
            copied["To"] = f"{to};tag={tag}"
        return Response(
            status=status,
            reason=reason or REASONS.get(status, ""),
            headers=Headers(copied),
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
    ``request`` is None for what is not to be answered: responses, an ACK, rubbish, or
    a request without Via.
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
