"""Reading and writing one SIP message (RFC 3261 7, 18.3, 20)."""

from __future__ import annotations

import pytest

from gateway.errors import Malformed, TooLarge
from gateway.sip.message import (
    CSeq,
    Headers,
    Request,
    Response,
    SipMalformed,
    SipTooLarge,
    parse,
)
from tests.sip.samples import MESSAGE, OK, changed, request


def test_request_is_read_with_its_key_fields() -> None:
    """A plain MESSAGE gives method, URI, fields and body."""
    message = parse(MESSAGE)
    assert isinstance(message, Request)
    assert (message.method, message.uri) == ("MESSAGE", "sip:bob@example.com")
    assert message.body == b"hello"
    assert message.via.branch == "z9hG4bK776asdhds"
    assert message.via.sent_by == "192.0.2.1:5060"
    assert message.cseq == CSeq(1, "MESSAGE")
    assert message.call_id == "asd88asd77a@192.0.2.1"
    assert message.from_.display == "Alice"
    assert message.from_.tag == "49583"
    assert message.to.tag is None
    assert message.content_type == "text/plain"


def test_response_is_read() -> None:
    """A 200 gives status and reason."""
    message = parse(OK)
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (200, "OK")
    assert message.to.tag == "ab8asdasd9"


@pytest.mark.parametrize("data", [MESSAGE, OK])
def test_written_again_it_reads_the_same(data: bytes) -> None:
    """encode() gives a message that parses to an equal one."""
    message = parse(data)
    assert parse(message.encode()) == message
    assert bytes(message) == message.encode()


def test_body_is_kept_out_of_repr() -> None:
    """What users write to one another does not reach a log by accident."""
    shown = repr(parse(changed(b"hello", b"hush!")))
    assert "hush!" not in shown and "alice" not in shown


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Via: ", b"v: "),
        (b"Via: ", b"vIA  :  "),
        (b"Call-ID:", b"i\t:\t"),
        (b"To: <", b"to:<"),
        (b"CSeq: 1 MESSAGE", b"CSEQ: 1\r\n MESSAGE"),
        (b"CSeq: 1 MESSAGE", b"CSeq:\r\n\t1 \t MESSAGE"),
        (b"CSeq: 1 MESSAGE", b"CSeq: 1\n  MESSAGE"),
        (b"MESSAGE sip", b"\r\n\r\nMESSAGE sip"),
        (b"Content-Length: 5\r\n", b""),
        (b"Content-Length: 5", b"l: 0005"),
        (b"Max-Forwards: 70\r\n", b""),
        (b"bob@example.com SIP/2.0", b"bob@example.com sip/2.0"),
    ],
)
def test_odd_spellings_are_the_same_message(old: bytes, new: bytes) -> None:
    """Compact forms, blanks, folding and case change nothing that is read."""
    read, plain = parse(changed(old, new)), parse(MESSAGE)
    assert read.body == plain.body
    assert read.via == plain.via
    assert read.call_id == plain.call_id
    assert read.cseq == plain.cseq
    assert read.to == plain.to


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_line_ends_of_lf_alone(end: bytes) -> None:
    """LF alone ends lines, and a first LF LF ends the head before a CR LF CR LF."""
    data = MESSAGE.replace(b"\r\n", b"\n").replace(b"hello", end + end + b"x")
    data = data.replace(b"Length: 5", b"Length: %d" % (2 * len(end) + 1))
    message = parse(data)
    assert message.body == end + end + b"x"
    assert message.via.branch == "z9hG4bK776asdhds"


def test_bytes_behind_content_length_are_dropped() -> None:
    """RFC 3261 18.3: a datagram's tail is no part of the body."""
    assert parse(MESSAGE + b" and more").body == b"hello"


def test_text_is_utf8_and_other_bytes_are_replaced() -> None:
    """UTF-8 is kept; Latin-1 and NUL do not break the message."""
    name = "Zoë \u6771".encode()
    assert parse(changed(b"Alice", name)).from_.display == "Zoë \u6771"
    assert parse(changed(b"Alice", b"Zo\xeb")).from_.display == "Zo\ufffd"
    assert "\0" not in parse(changed(b"Alice", b"A\\\0")).from_.display


MALFORMED = {
    "empty": b"",
    "line ends alone": b"\r\n\r\n\r\n",
    "not SIP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no empty line": MESSAGE[: MESSAGE.index(b"\r\n\r\n")],
    "binary": bytes(range(256)),
    "no colon": changed(b"Max-Forwards: 70", b"Max-Forwards 70"),
    "name with a blank": changed(b"Max-Forwards: 70", b"Max Forwards: 70"),
    "no name": changed(b"Max-Forwards: 70", b": 70"),
    "bare CR": changed(b"Alice", b"Al\rice"),
    "no Via": changed(b"Via:", b"X-Via:"),
    "no From": changed(b"From:", b"X-From:"),
    "no To": changed(b"To:", b"X-To:"),
    "no Call-ID": changed(b"Call-ID:", b"X-Call-ID:"),
    "no CSeq": changed(b"CSeq:", b"X-CSeq:"),
    "empty Call-ID": changed(b"asd88asd77a@192.0.2.1", b""),
    "two From": changed(b"To: ", b"From: <sip:a@b>;tag=1\r\nTo: "),
    "two Call-ID": changed(b"To: ", b"i: other\r\nTo: "),
    "CSeq of another method": changed(b"1 MESSAGE", b"1 INVITE"),
    "CSeq in other digits": changed(b"1 MESSAGE", "\u0661 MESSAGE".encode()),
    "CSeq beyond 2**31": changed(b"1 MESSAGE", b"2147483648 MESSAGE"),
    "CSeq without method": changed(b"1 MESSAGE", b"1"),
    "Max-Forwards 256": changed(b"70", b"256"),
    "Max-Forwards -1": changed(b"70", b"-1"),
    "two Max-Forwards": changed(b"To: ", b"Max-Forwards: 1\r\nTo: "),
    "long Content-Length": changed(b"Length: 5", b"Length: 6"),
    "negative Content-Length": changed(b"Length: 5", b"Length: -5"),
    "signed Content-Length": changed(b"Length: 5", b"Length: +5"),
    "Content-Length in other digits": changed(b": 5", ": \u0665".encode()),
    "differing Content-Length": changed(b"To: ", b"l: 4\r\nTo: "),
    "open quotes": changed(b'"Alice"', b'"Alice'),
    "open angle": changed(b"bob@example.com>", b"bob@example.com"),
    "URI in angles": changed(b"sip:bob@example.com ", b"<sip:bob@example.com> "),
    "URI without scheme": changed(b"sip:bob@example.com ", b"bob "),
    "URI with a blank": changed(b"MESSAGE sip:bob@", b"MESSAGE sip:b ob@"),
    "method no token": changed(b"MESSAGE sip", b"MESS(AGE sip"),
    "two blanks": changed(b"MESSAGE sip", b"MESSAGE  sip"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed(data: bytes) -> None:
    """What is no SIP message raises, and only what it should."""
    with pytest.raises(SipMalformed) as caught:
        parse(data)
    assert isinstance(caught.value, Malformed)
    if caught.value.request is not None:
        # What could be read is enough to answer, and the answer can be written.
        answer = caught.value.request.response(caught.value.status, tag="t")
        assert answer.encode().startswith(b"SIP/2.0 400 Bad Request\r\nVia: ")


def test_malformed_request_carries_what_could_be_read() -> None:
    """The answer to a bad CSeq can be addressed (RFC 3261 21.4.1)."""
    with pytest.raises(SipMalformed) as caught:
        parse(changed(b"1 MESSAGE", b"x MESSAGE"))
    partial = caught.value.request
    assert partial is not None
    assert partial.via.branch == "z9hG4bK776asdhds"
    assert partial.response(400).call_id == "asd88asd77a@192.0.2.1"


def test_other_versions_are_505() -> None:
    """SIP/7.0 is told from rubbish (RFC 3261 21.5.6)."""
    with pytest.raises(SipMalformed) as caught:
        parse(changed(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"))
    assert caught.value.status == 505
    with pytest.raises(SipMalformed) as caught:
        parse(changed(b"SIP/2.0\r\nVia", b"SIP/two\r\nVia"))
    assert caught.value.status == 400


@pytest.mark.parametrize("code", [b"099", b"700", b"4294967301", b"20", b"2x0", b""])
def test_status_outside_of_100_to_699_is_dropped(code: bytes) -> None:
    """A status line with another code is no response, nor is it answered."""
    with pytest.raises(SipMalformed) as caught:
        parse(changed(b"SIP/2.0 200 OK", b"SIP/2.0 %s OK" % code, OK))
    assert caught.value.request is None


@pytest.mark.parametrize("line", [b"SIP/2.0 200 ", b"SIP/2.0 200"])
def test_reason_may_be_empty(line: bytes) -> None:
    """RFC 4475 3.1.1.13: the phrase may be nothing."""
    message = parse(changed(b"SIP/2.0 200 OK", line, OK))
    assert isinstance(message, Response) and message.reason == ""


def test_limits_of_head_fields_and_body() -> None:
    """64 KiB of head, 256 fields, and the body's bound are TooLarge."""
    for data in (
        changed(b"To: ", b"X-Long: " + b"x" * 65536 + b"\r\nTo: "),
        changed(b"To: ", b"X: y\r\n" * 256 + b"To: "),
        changed(b"Length: 5", b"Length: 99999999999"),
    ):
        with pytest.raises(SipTooLarge) as caught:
            parse(data)
        assert isinstance(caught.value, TooLarge) and caught.value.status == 513
    with pytest.raises(SipTooLarge):
        parse(MESSAGE, max_body=4)
    assert parse(changed(b"To: ", b"X: y\r\n" * 248 + b"To: ")).body == b"hello"


def test_response_begins_as_the_request_says() -> None:
    """RFC 3261 8.2.6.2: Via, From, To, Call-ID and CSeq; a tag but for 100."""
    asked = parse(changed(b"To: ", b"Via: SIP/2.0/TCP far.example.org\r\nTo: "))
    assert isinstance(asked, Request)
    answer = asked.response(480, tag="xyz")
    assert answer.reason == "Temporarily Unavailable"
    assert answer.headers.all("Via") == asked.headers.all("Via")
    assert len(answer.headers.all("Via")) == 2
    assert answer.headers.get("To") == "<sip:bob@example.com>;tag=xyz"
    assert answer.cseq == asked.cseq and answer.from_ == asked.from_
    assert asked.response(100, tag="xyz").to.tag is None
    asked.headers.set("To", "<sip:bob@example.com>;tag=old")
    assert asked.response(200, "Fine", tag="xyz").to.tag == "old"


def test_timestamp_goes_into_100_alone() -> None:
    """RFC 3261 8.2.6.1: a 100 copies Timestamp."""
    asked = request()
    asked.headers.set("Timestamp", "54")
    assert asked.response(100).headers.get("Timestamp") == "54"
    assert asked.response(200).headers.get("Timestamp") is None


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\nb", "a\rb", "a\0b"])
def test_line_ends_cannot_be_smuggled_into_a_header(bad: str) -> None:
    """A value with a line end is a defect of ours and never leaves."""
    message = request()
    message.headers.add("Subject", bad)
    with pytest.raises(ValueError, match="line end or NUL"):
        message.encode()
    with pytest.raises(ValueError, match="line end or NUL"):
        Request(method="MESSAGE", uri=bad, headers=Headers()).encode()
    with pytest.raises(ValueError, match="line end or NUL"):
        Response(status=200, reason=bad).encode()


def test_content_length_is_ours_and_via_comes_first() -> None:
    """A Content-Length that was set is not believed; a late Via leads."""
    message = request(body=b"four")
    message.headers.set("Content-Length", "99")
    message.headers.prepend("Via", "SIP/2.0/TCP a;branch=z9hG4bK1")
    data = message.encode()
    assert data.split(b"\r\n")[1] == b"Via: SIP/2.0/TCP a;branch=z9hG4bK1"
    assert data.count(b"Content-Length") == 1
    assert data.endswith(b"Content-Length: 4\r\n\r\nfour")
