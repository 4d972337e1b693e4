"""Messages: CSP SendMessage ⇄ SIP MESSAGE (interworking mapping 2.1 and 2.2).

Content keeps its bytes: text crosses as UTF-8, anything else in the media type in
which it came, BASE64 on the CSP side. Dates and validity are carried both ways.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import NamedTuple

from gateway import __version__
from gateway.csp.charsets import canonical
from gateway.csp.common import Recipient, Sender, User
from gateway.csp.messaging import MessageInfo
from gateway.csp.negotiation import Agreed
from gateway.errors import Malformed, Refused, UnsupportedMedia
from gateway.identity import request_uri
from gateway.sip.message import Headers, Request

FEATURE = "+g.oma.sip-im"
ACCEPT_CONTACT = f"*;{FEATURE};require;explicit"
PRODUCT = f"IM-client/OMA1.0 IMPS-gateway/{__version__}"
ALLOW = "MESSAGE, OPTIONS"
_TEXT_PLAIN = "text/plain;charset=UTF-8"
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s";]+)"?', re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+\Z", re.ASCII)
_PRINTABLE = re.compile(r"[ -~]{3,200}\Z")


@dataclass(frozen=True, slots=True)
class Content:
    """One message body as SIP carries it: a media type and bytes."""

    type: str
    body: bytes


def media_type(content_type: str) -> str:
    """Give the bare media type, lower case, without parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_content_type(text: str) -> bool:
    """Tell whether a media type with its parameters may stand in a header."""
    if _PRINTABLE.match(text) is None:
        return False
    return _MEDIA_TYPE.match(media_type(text)) is not None


def content_of(info: MessageInfo, data: str | None) -> Content:
    """Read the content of a SendMessage (CSP 1.3: ContentType, ContentEncoding).

    Raises Refused(402) for BASE64 that is none, Refused(415) for a media type that is
    none.
    """
    kind = (info.content_type or "text/plain").strip()
    if not is_content_type(kind):
        raise Refused(415, "ContentType is no media type")
    encoding = (info.content_encoding or "None").strip().upper()
    if encoding == "BASE64":
        try:
            body = base64.b64decode("".join((data or "").split()), validate=True)
        except (binascii.Error, ValueError):
            raise Refused(402, "ContentData is not BASE64") from None
        return Content(kind, body)
    if encoding not in ("NONE", ""):
        raise Refused(402, "ContentEncoding is neither BASE64 nor None")
    if kind == "text/plain":
        return Content(_TEXT_PLAIN, (data or "").encode())
    # The characters came in the charset of the document, whatever the type says.
    kind = f"{_CHARSET.sub('', kind)};charset=UTF-8"
    return Content(kind, (data or "").encode())


def text_of(content: Content) -> str | None:
    """Give the text of a text type, None when it is no text or cannot be read."""
    if not media_type(content.type).startswith("text/"):
        return None
    match = _CHARSET.search(content.type)
    try:
        # Any other codec of Python's could cost a peer nothing and us much.
        return content.body.decode(canonical(match[1]) if match else "utf-8")
    except (UnsupportedMedia, UnicodeError):
        return None


def data_for(content: Content) -> tuple[str, str | None, str]:
    """Give ContentType, ContentEncoding and ContentData of a content for a handset."""
    text = text_of(content)
    if text is None:
        return content.type, "BASE64", base64.b64encode(content.body).decode()
    return _CHARSET.sub("", content.type), None, text


def accepted(content: Content, agreed: Agreed) -> bool:
    """Tell whether the handset takes the media type at all."""
    return agreed.takes(media_type(content.type))


def info_for(
    *,
    message_id: str,
    content: Content,
    encoding: str | None,
    content_type: str,
    sender: str,
    recipient: str,
    sent_at: datetime | None,
    validity: int | None = None,
) -> MessageInfo:
    """Describe a message to the handset it goes to."""
    return MessageInfo(
        message_id=message_id,
        content_type=content_type,
        content_encoding=encoding,
        content_size=len(content.body),
        recipient=Recipient(user=(User(user_id=recipient),)),
        sender=Sender(user=User(user_id=sender)),
        date_time=sent_at,
        validity=validity,
    )


class Outgoing(NamedTuple):
    """One MESSAGE to one recipient; ids are the caller's."""

    sender: str  # AoR
    recipient: str  # Request-URI
    content: Content
    call_id: str
    tag: str
    cseq: int = 1
    validity: int | None = None
    sent_at: datetime | None = None


def to_sip(message: Outgoing) -> Request:
    """Write the MESSAGE of a handset (RFC 3428 4; seed 003 6.1.3.1).

    The identity is asserted: the core that does not trust us replaces it by what it
    authenticated (RFC 3325 5).
    """
    sender = f"<{message.sender}>"
    fields: dict[str, str | tuple[str, ...]] = {
        "Max-Forwards": "70",
        "From": f"{sender};tag={message.tag}",
        "To": f"<{message.recipient}>",
        "Call-ID": message.call_id,
        "CSeq": f"{message.cseq} MESSAGE",
        "P-Asserted-Identity": sender,
        "Accept-Contact": ACCEPT_CONTACT,
        "User-Agent": PRODUCT,
        "Allow": ALLOW,
        "Supported": "timer",
    }
    if message.sent_at is not None:
        fields["Date"] = sip_date(message.sent_at)
    if message.validity is not None:
        fields["Expires"] = str(message.validity)
    if message.content.body:
        fields["Content-Type"] = message.content.type
    return Request(
        method="MESSAGE",
        uri=message.recipient,
        headers=Headers(fields),
        body=message.content.body,
    )


def options(sender: str, recipient: str, token: str) -> Request:
    """Write an OPTIONS that asks whether a user exists (RFC 3261 11)."""
    fields: dict[str, str | tuple[str, ...]] = {
        "Max-Forwards": "70",
        "From": f"<{sender}>;tag={token}",
        "To": f"<{recipient}>",
        "Call-ID": token,
        "CSeq": "1 OPTIONS",
        "P-Asserted-Identity": f"<{sender}>",
        "Accept-Contact": ACCEPT_CONTACT,
        "User-Agent": PRODUCT,
    }
    return Request(
        method="OPTIONS", uri=request_uri(recipient), headers=Headers(fields)
    )


def sip_date(at: datetime) -> str:
    """Write a Date header: RFC 1123 in GMT (RFC 3261 20.17)."""
    return format_datetime(moment(microseconds(at)), usegmt=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What a MESSAGE says, apart from who sent it."""

    content: Content
    sent_at: datetime | None
    validity: int | None


def from_sip(request: Request) -> Incoming:
    """Read a MESSAGE (RFC 3428 7). Raises Malformed."""
    headers = request.headers
    kind = headers.get("Content-Type")
    if request.body and kind is None:
        raise Malformed("a body without Content-Type")
    if kind is not None and not is_content_type(kind):
        raise Malformed("Content-Type is no media type")
    sent_at = None
    if (date := headers.get("Date")) is not None:
        try:
            sent_at = parsedate_to_datetime(date)
            if sent_at.tzinfo is None:
                sent_at = sent_at.replace(tzinfo=UTC)
            sent_at = sent_at.astimezone(UTC)
        except (ValueError, OverflowError, TypeError, IndexError):
            raise Malformed("Date is not of RFC 1123") from None
    validity = None
    if (expires := headers.get("Expires")) is not None:
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 10):
            raise Malformed("Expires is not a number of seconds")
        validity = int(expires)
    return Incoming(
        content=Content(kind or "text/plain", request.body),
        sent_at=sent_at,
        validity=validity,
    )


def microseconds(at: datetime) -> int:
    """Give a time as the store keeps it: microseconds since 1970 in UTC.

    What UTC cannot tell (the last hours of the year 9999 in the west) is cut to what it
    can, so that ``moment`` always finds the way back.
    """
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max((at - _EPOCH) // timedelta(microseconds=1), _FIRST), _LAST)


def moment(at: int) -> datetime:
    """Give a time of the store as CSP's DateTime: UTC, whole seconds."""
    return _EPOCH + timedelta(seconds=min(max(at, _FIRST), _LAST) // 1_000_000)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
