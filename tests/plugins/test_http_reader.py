"""The reader of HTTP requests against hostile and merely odd bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._http_reader import MAX_HEAD, Phase, Request, RequestReader
from plugins._http_replies import NOT_FOUND, NOT_POST, Refusal
from tests.plugins.hostile import MAX_BODY, check_stream, read, route, summary

HOST = b"POST /csp HTTP/1.1\r\nHost: a\r\n"


def reader() -> RequestReader:
    return RequestReader(route, MAX_BODY)


WHOLE = {
    "content-length": (HOST + b"Content-Length: 3\r\n\r\nabc", b"abc"),
    "no body": (HOST + b"\r\n", b""),
    "blank after the number": (HOST + b"Content-Length: 3 \r\n\r\nabc", b"abc"),
    "blank lines before": (b"\r\n\r\n" + HOST + b"Content-Length: 1\r\n\r\nx", b"x"),
    "chunked": (
        HOST
        + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;e=1\r\nde\r\n0\r\n\r\n",
        b"abcde",
    ),
    "chunked, odd case": (
        HOST + b"transfer-ENCODING:  Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"a",
    ),
    "trailers": (
        HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: b\r\n\r\n",
        b"a",
    ),
    "1.0": (b"POST /csp HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    "an upgrade nobody wants": (
        HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk\r\nContent-Length: 3\r\n\r\nabc",
        b"abc",
    ),
    "an upgrade in 1.0": (
        b"POST /csp HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 3\r\n\r\nabc",
        b"abc",
    ),
    "an upgrade with chunks": (
        HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"abc",
    ),
}


@pytest.mark.parametrize("data, body", WHOLE.values(), ids=WHOLE)
def test_whole_requests(data: bytes, body: bytes) -> None:
    """A request is read alike in one piece, byte by byte, and many times over."""
    assert summary(read(data)) == [(b"POST", body)]
    assert summary(read(*(data[i : i + 1] for i in range(len(data))))) == [
        (b"POST", body)
    ]
    if b"HTTP/1.0" not in data:
        assert summary(read(data * 50)) == [(b"POST", body)] * 50


REFUSED = {
    "a lying length: too long a number": (b"Content-Length: " + b"9" * 30, 400),
    "a negative length": (b"Content-Length: -3", 400),
    "a signed length": (b"Content-Length: +3", 400),
    "a hexadecimal length": (b"Content-Length: 0x3", 400),
    "an empty length": (b"Content-Length:", 400),
    "a list of lengths": (b"Content-Length: 3, 3", 400),
    "two lengths": (b"Content-Length: 3\r\nContent-Length: 4", 400),
    "two equal lengths": (b"Content-Length: 3\r\nContent-Length: 3", 400),
    "CL.TE": (b"Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
    "TE.CL": (b"Transfer-Encoding: chunked\r\nContent-Length: 3", 400),
    "two codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    "a coding after chunked": (b"Transfer-Encoding: chunked, gzip", 400),
    "a coding before chunked": (b"Transfer-Encoding: gzip, chunked", 501),
    "no known coding": (b"Transfer-Encoding: identity", 501),
    "nearly chunked": (b"Transfer-Encoding: xchunked", 501),
    "a coding in quotes": (b'Transfer-Encoding: "chunked"', 501),
    "an empty coding": (b"Transfer-Encoding:", 400),
    "a vertical tab before the coding": (b"Transfer-Encoding: \x0bchunked", 400),
    "a blank before the colon": (b"Content-Length : 3", 400),
    "a bare line feed": (b"Content-Length: 3\nX: y", 400),
    "a bare carriage return": (b"X: a\rContent-Length: 3", 400),
    "folding": (b"X: a\r\n b", 400),
    "NUL in a value": (b"X: a\x00b", 400),
    "NUL in a name": (b"X\x00: b", 400),
    "no name": (b": b", 400),
    "no colon": (b"Content-Type", 400),
    "an eight bit name": (b"\xffx: y", 400),
    "two hosts": (b"Host: b", 400),
    "two types": (b"Content-Type: a/b\r\nContent-Type: c/d", 400),
    "too much said": (b"Content-Length: 1001", 413),
    "an unknown expectation": (b"Expect: 200-ok", 417),
    "a long header": (b"X: " + b"y" * MAX_HEAD, 431),
    "a long name": (b"y" * MAX_HEAD + b": 1", 431),
    "many headers": (b"\r\n".join([b"A: b"] * 101), 431),
}


@pytest.mark.parametrize("lines, status", REFUSED.values(), ids=REFUSED)
def test_refused_headers(lines: bytes, status: int) -> None:
    """Framing that two readers could take in two ways is refused, and ends it all."""
    data = HOST + lines + b"\r\n\r\nabcPOST /csp HTTP/1.1\r\nHost: a\r\n\r\n"
    assert summary(read(data)) == [status]
    assert summary(read(*(data[i : i + 1] for i in range(len(data))))) == [status]


LINES = {
    b"POST /csp HTTP/1.2\r\n": 505,
    b"POST /csp HTTP/2.0\r\n": 505,
    b"POST /csp HTTP/0.9\r\n": 505,
    b"POST /csp\r\n": 505,
    b"POST /csp ICY/1.0\r\n": 400,
    b"BREW /csp HTTP/1.1\r\n": 501,
    b"post /csp HTTP/1.1\r\n": 501,
    b"POST  HTTP/1.1\r\n": 400,
    b"POST /\xe4 HTTP/1.1\r\n": 400,
    b"POST /\x00 HTTP/1.1\r\n": 400,
    b"POST /csp HTTP/1.1\n": 400,
    b"POST /" + b"a" * 5000 + b" HTTP/1.1\r\n": 414,
    b"PRI * HTTP/2.0\r\n": 400,
    b"CONNECT gw:80 HTTP/1.1\r\n": 405,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": 400,
    b"<WV-CSP-Message/>": 400,
    b"\x00" * 64: 400,
}


@pytest.mark.parametrize("line, status", LINES.items())
def test_refused_request_lines(line: bytes, status: int) -> None:
    """A request line that is none of HTTP/1.x is refused."""
    assert summary(read(line + b"Host: a\r\nContent-Length: 3\r\n\r\nabc")) == [status]


def test_http_1_1_needs_a_host() -> None:
    """RFC 9112 3.2."""
    assert summary(read(b"POST /csp HTTP/1.1\r\n\r\n")) == [400]


def test_http_1_0_has_no_chunks() -> None:
    """RFC 9112 6.1: such a message is framed in two ways."""
    data = b"POST /csp HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert summary(read(data)) == [400]


CHUNKS = {
    b"-3\r\nabc\r\n": 400,
    b"0x3\r\nabc\r\n": 400,
    b"fffffffffffffffff\r\nabc\r\n": 400,
    b"3\nabc\n": 400,
    b"3\r\nabcd\r\n": 400,
    b"3\r\nab\r\n0\r\n\r\n": 400,
    b"\r\n": 400,
    b"3e9\r\n" + b"a" * 1001: 413,
    b"1\r\na\r\n" * 1001: 413,
    b"0\r\nX: " + b"y" * MAX_HEAD + b"\r\n\r\n": 431,
    b"0\r\n" + b"X: y\r\n" * 101: 431,
}


@pytest.mark.parametrize("chunks, status", CHUNKS.items())
def test_refused_chunks(chunks: bytes, status: int) -> None:
    """Chunks that lie, or that add up to too much, are refused as they arrive."""
    data = HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    assert summary(read(data)) == [status]
    assert summary(read(*(data[i : i + 7] for i in range(0, len(data), 7)))) == [status]


def test_a_body_is_refused_before_it_arrives() -> None:
    """413 needs the head alone (Content-Length), or the first byte too many."""
    assert summary(read(HOST + b"Content-Length: 1001\r\n\r\n")) == [413]
    head = HOST + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n"
    assert summary(read(head, b"a" * 1000)) == []
    assert summary(read(head, b"a" * 1000, b"a")) == [413]


@pytest.mark.parametrize(
    "start",
    [
        b"POST /csp HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST /csp HTTP/1.1\r\nHost: a\r\n",
        HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        HOST + b"Transfer-Encoding: chunked\r\n\r\n1;e=",
    ],
)
def test_endless_parts_are_bounded(start: bytes) -> None:
    """What never ends, and so is never reported, is ended by its size."""
    subject = reader()
    assert not subject.feed(start)
    taken = 0
    found: list[Request | Refusal] = []
    while not found:
        found.extend(subject.feed(b"a" * 1000))
        taken += 1000
        assert taken <= MAX_HEAD + 2000
    assert summary(found) == [431]


def test_nothing_is_read_after_close() -> None:
    """RFC 9112 9.6: what follows the last request is ignored."""
    last = HOST + b"Connection: close\r\nContent-Length: 1\r\n\r\na"
    found = read(last + b"garbage", b"more garbage")
    assert summary(found) == [(b"POST", b"a")]
    assert isinstance(found[0], Request) and not found[0].keep_alive


def test_http_1_0_keeps_alive_only_when_asked() -> None:
    """The reply has to say so then."""
    plain = read(b"POST /csp HTTP/1.0\r\n\r\n")[0]
    kept = read(b"POST /csp HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")[0]
    assert isinstance(plain, Request) and isinstance(kept, Request)
    assert (plain.old, plain.keep_alive) == (True, False)
    assert (kept.old, kept.keep_alive) == (True, True)


def test_a_refused_request_is_read_to_its_end() -> None:
    """404 and 405 leave the connection usable; their bodies are not kept."""
    found = read(
        b"GET /csp HTTP/1.1\r\nHost: a\r\n\r\n"
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        + HOST
        + b"Content-Length: 1\r\n\r\nd"
    )
    requests = [item for item in found if isinstance(item, Request)]
    assert [item.refusal for item in requests] == [NOT_POST, NOT_FOUND, None]
    assert [item.body for item in requests] == [b"", b"", b"d"]


def test_continue_is_owed_only_while_the_body_is_held_back() -> None:
    """RFC 9110 10.1.1."""
    subject = reader()
    head = HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    seen = [(len(subject.feed(head)), subject.continue_owed, subject.phase)]
    seen.append((len(subject.feed(b"ab")), subject.continue_owed, subject.phase))
    assert seen == [(0, True, Phase.BODY), (1, False, Phase.IDLE)]
    assert reader().feed(head + b"ab")


@pytest.mark.parametrize("line, status", [(b"GET /csp", 405), (b"POST /x", 404)])
def test_a_body_that_is_held_back_in_vain(line: bytes, status: int) -> None:
    """A refused request gets its answer at once, and the connection ends."""
    head = line + b" HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
    subject = reader()
    assert summary(list(subject.feed(head + b"Content-Length: 9\r\n\r\n"))) == [status]
    assert not subject.continue_owed


def test_many_upgrades_in_one_piece() -> None:
    """Each is undone in turn, without recursion."""
    one = HOST + b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\na"
    assert summary(read(one * 2000)) == [(b"POST", b"a")] * 2000


ALPHABET = st.sampled_from(
    [
        HOST,
        b"POST /csp HTTP/1.1\r\n",
        b"GET /csp HTTP/1.0\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Expect: 100-continue\r\n",
        b"Host: b\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"abc",
        b"\x00",
        b"\xff\xfe",
        b" ",
        b":",
        b"\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ALPHABET | st.binary(max_size=8), max_size=30), st.integers(0, 96))
def test_any_bytes_in_any_pieces(parts: list[bytes], cut: int) -> None:
    """However bytes are cut, the same requests and the same end come out."""
    check_stream(b"".join(parts), cut)
