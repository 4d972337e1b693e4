"""Message contents, dates and identities on their way between CSP and SIP."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.csp.common import Recipient, Sender, User
from gateway.csp.messaging import MessageInfo
from gateway.errors import Malformed, Refused
from gateway.sip.message import Request, parse
from gateway.translation.messaging import (
    Content,
    Outgoing,
    content_of,
    data_for,
    from_sip,
    microseconds,
    moment,
    options,
    sip_date,
    text_of,
    to_sip,
)


def info(**changes) -> MessageInfo:
    return MessageInfo(
        content_size=5,
        recipient=Recipient(user=(User(user_id="wv:bob@example.com"),)),
        sender=Sender(user=User(user_id="wv:alice@example.com")),
        **changes,
    )


def outgoing(**changes: Any) -> Request:
    fields: dict[str, Any] = {
        "sender": "sip:alice@example.com",
        "recipient": "sip:bob@example.com",
        "content": Content("text/plain;charset=UTF-8", b"hello"),
        "call_id": "c1",
        "tag": "t1",
    }
    return to_sip(Outgoing(**fields | changes))


def on_the_wire(request: Request) -> Request:
    """Read a request again as its next hop does."""
    request.headers.prepend("Via", "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1")
    read = parse(request.encode())
    assert isinstance(read, Request)
    return read


def message(*lines: str, body: bytes = b"hello") -> Request:
    head = [
        "MESSAGE sip:alice@example.com SIP/2.0",
        "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1",
        "From: <sip:bob@example.com>;tag=1",
        "To: <sip:alice@example.com>",
        "Call-ID: 1",
        "CSeq: 1 MESSAGE",
        *lines,
        "",
        "",
    ]
    request = parse("\r\n".join(head).encode() + body)
    assert isinstance(request, Request)
    return request


# -- to SIP


@pytest.mark.requirement("M-6.1.3.1-01", "M-6.1.3.1-02", "M-6.1.3.1-03")
def test_a_message_is_built_by_the_rules():
    read = on_the_wire(outgoing())
    assert (read.method, read.uri) == ("MESSAGE", "sip:bob@example.com")
    assert read.headers.get("Max-Forwards") == "70"
    assert read.cseq == (1, "MESSAGE")
    assert read.headers.get("Accept-Contact") == "*;+g.oma.sip-im;require;explicit"
    assert str(read.headers.get("User-Agent")).startswith("IM-client/OMA1.0")
    assert read.headers.get("Contact") is None  # RFC 3428 4: a MESSAGE has none
    assert read.body == b"hello"


@pytest.mark.requirement("M-6.1.3.1-04", "M-6.1.3.1-05", "M-6.1.3.1-09")
def test_a_message_says_who_sends_it_and_what_he_knows():
    request = outgoing()
    assert request.headers.get("P-Asserted-Identity") == "<sip:alice@example.com>"
    assert request.from_.uri.aor == "sip:alice@example.com"
    assert "MESSAGE" in request.headers.values("Allow")
    assert "timer" in request.headers.values("Supported")


@pytest.mark.requirement("M-6.1.3.1-02", "M-6.1.3.1-03")
def test_a_question_about_a_user_is_marked_alike():
    request = options("sip:alice@example.com", "sip:+358401234567@example.com", "t")
    assert request.uri == "sip:+358401234567@example.com;user=phone"
    assert request.headers.get("Accept-Contact") == "*;+g.oma.sip-im;require;explicit"
    on_the_wire(request)


def test_validity_and_date_go_along():
    at = datetime(2005, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=2)))
    request = outgoing(validity=600, sent_at=at)
    assert request.headers.get("Expires") == "600"
    assert request.headers.get("Date") == "Fri, 04 Mar 2005 03:06:07 GMT"
    assert "Date" not in outgoing().headers
    assert "Expires" not in outgoing().headers


def test_an_empty_message_has_no_content_type():
    request = outgoing(content=Content("text/plain", b""))
    assert "Content-Type" not in request.headers


# -- contents of handsets


@pytest.mark.parametrize("kind", [None, "text/plain", "TEXT/PLAIN", " text/plain "])
def test_text_goes_as_utf_8(kind):
    content = content_of(info(content_type=kind), "hé")
    assert content.body == "hé".encode()
    assert content.type.lower() == "text/plain;charset=utf-8"


def test_the_charset_of_the_document_is_that_of_its_text():
    content = content_of(info(content_type="text/html; charset=ISO-8859-1"), "hé")
    assert content == Content("text/html;charset=UTF-8", "hé".encode())


@pytest.mark.parametrize("encoding", ["BASE64", "base64", " Base64 "])
def test_base64_keeps_its_bytes_and_its_type(encoding):
    kind = "text/plain;charset=ISO-8859-1"
    given_info = info(content_type=kind, content_encoding=encoding)
    assert content_of(given_info, " aOk\n= ") == Content(kind, b"h\xe9")


@pytest.mark.parametrize(
    ("changes", "data", "code"),
    [
        ({"content_encoding": "BASE64"}, "a", 402),
        ({"content_encoding": "BASE64"}, "é===", 402),
        ({"content_encoding": "QUOTED"}, "a", 402),
        ({"content_type": "text"}, "a", 415),
        ({"content_type": "text/"}, "a", 415),
        ({"content_type": "text/plain;\r\nRoute: <sip:evil>"}, "a", 415),
        ({"content_type": "text/plain;x=\n1", "content_encoding": "BASE64"}, "", 415),
        ({"content_type": "téxt/plain"}, "a", 415),
        ({"content_type": "text/plain;name=é"}, "a", 415),
        ({"content_type": "text/plain;x=" + "y" * 300}, "a", 415),
    ],
)
def test_a_content_that_cannot_be_written_to_sip_is_refused(changes, data, code):
    with pytest.raises(Refused) as caught:
        content_of(info(**changes), data)
    assert caught.value.code == code


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_content_type_breaks_a_request(kind, data):
    try:
        content = content_of(
            info(content_type=kind), data.encode("utf-8", "replace").decode()
        )
    except Refused:
        return
    on_the_wire(outgoing(content=content))


# -- contents for handsets


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain", "hé".encode(), "hé"),
        ("text/plain;charset=utf-8", "hé".encode(), "hé"),
        ('text/plain; charset="ISO-8859-1"', b"h\xe9", "hé"),
        ("text/plain;charset=utf-16", "hé".encode("utf-16"), "hé"),
        ("text/html;charset=KOI8-R", "да".encode("koi8-r"), "да"),
    ],
)
def test_text_of_any_charset_is_given_as_text(kind, body, text):
    content_type, encoding, data = data_for(Content(kind, body))
    assert (encoding, data) == (None, text)
    assert "charset" not in content_type


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("image/gif", b"GIF89a"),
        ("text/plain", b"h\xe9"),
        ("text/plain;charset=x-unknown", b"a"),
        ("text/plain;charset=punycode", b"a" * 100),
        ("text/plain;charset=idna", b"xn--a"),
        ("text/plain;charset=unicode_escape", rb"\ud800"),
        ("text/plain;charset=utf-7", b"+2AA-"),
        ("text/plain;charset=rot13", b"a"),
        ("text/plain;charset=zip", b"a"),
    ],
)
def test_anything_else_is_given_as_base64(kind, body):
    content_type, encoding, data = data_for(Content(kind, body))
    assert content_type == kind
    assert encoding == "BASE64"
    assert base64.b64decode(data) == body


@given(st.text(alphabet="abc-_0189 ;=\"'", max_size=20), st.binary(max_size=40))
def test_no_charset_of_a_peer_raises(charset, body):
    text = text_of(Content(f"text/plain;charset={charset}", body))
    assert text is None or isinstance(text.encode(), bytes)


# -- from SIP


def test_a_message_without_a_date_has_none():
    read = from_sip(message("Content-Type: text/plain"))
    assert read.sent_at is None and read.validity is None
    assert read.content == Content("text/plain", b"hello")


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("Fri, 04 Mar 2005 03:06:07 GMT", datetime(2005, 3, 4, 3, 6, 7, tzinfo=UTC)),
        ("Fri, 04 Mar 2005 05:06:07 +0200", datetime(2005, 3, 4, 3, 6, 7, tzinfo=UTC)),
        ("4 Mar 2005 03:06:07", datetime(2005, 3, 4, 3, 6, 7, tzinfo=UTC)),
    ],
)
def test_dates_are_read_as_utc(date, at):
    assert from_sip(message("Content-Type: text/plain", f"Date: {date}")).sent_at == at


@pytest.mark.parametrize("expires", ["0", "600", "4294967295"])
def test_expires_is_the_validity(expires):
    read = from_sip(message("Content-Type: text/plain", f"Expires: {expires}"))
    assert read.validity == int(expires)


@pytest.mark.parametrize(
    "line",
    [
        "Date: yesterday",
        "Date: Fri, 31 Dec 9999 23:59:59 -1200",
        "Date: Fri, 04 Mar 2005 03:06:07 +99999999999999999999",
        "Date: Fri, 99 Mar 2005 03:06:07 GMT",
        "Expires: -1",
        "Expires: soon",
        "Expires: 99999999999",
        "Expires: \u0663",
    ],
)
def test_faulty_dates_and_times_are_malformed(line):
    with pytest.raises(Malformed):
        from_sip(message("Content-Type: text/plain", line))


@pytest.mark.parametrize("kind", ["text", "a b/c", "text/plain;x=\x01", "é/x"])
def test_a_content_type_that_is_none_is_malformed(kind):
    with pytest.raises(Malformed):
        from_sip(message(f"Content-Type: {kind}"))
    with pytest.raises(Malformed):
        from_sip(message())


@given(st.text(alphabet="0123456789 :,+-GMTFriMarJan", max_size=40))
def test_no_date_of_a_peer_raises_anything_else(date):
    try:
        read = from_sip(message("Content-Type: text/plain", f"Date: {date}"))
    except Malformed:
        return
    if read.sent_at is not None:
        moment(microseconds(read.sent_at))


zones = st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))


# RFC 1123 dates before the year 1000 are read as if the century lacked.
@given(st.datetimes(datetime(1001, 1, 1), timezones=st.one_of(st.none(), zones)))
def test_every_time_of_a_handset_can_be_kept_and_written(at):
    kept = moment(microseconds(at))
    assert (
        from_sip(message("Content-Type: text/plain", f"Date: {sip_date(at)}")).sent_at
        == kept
    )
