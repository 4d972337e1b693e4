"""Cutting streams into messages (RFC 3261 18.3, RFC 5626 3.5.1)."""

from __future__ import annotations

import pytest

from gateway.sip.message import (
    KeepAlive,
    Request,
    Response,
    SipMalformed,
    SipTooLarge,
    StreamParser,
    parse,
)
from tests.sip.samples import MESSAGE, OK, changed

BURST = MESSAGE + b"\r\n\r\n" + OK + b"\r\n" + MESSAGE.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 500, 10000])
def test_any_cut_gives_the_same(step: int) -> None:
    """Messages and keep-alives come out in order however the bytes arrive."""
    parser = StreamParser()
    found = []
    for start in range(0, len(BURST), step):
        found += parser.feed(BURST[start : start + step])
    first, ping, answer, last = found
    assert first == parse(MESSAGE) and ping == KeepAlive() and answer == parse(OK)
    assert isinstance(last, Request) and last.body == b"hello"
    assert parser.fault is None


def test_one_line_end_alone_is_nothing() -> None:
    """The answer to our own keep-alive, or a stray line end, gives nothing."""
    parser = StreamParser()
    assert parser.feed(b"\r\n") == []
    assert len(parser.feed(OK + b"\r\n")) == 1
    assert parser.feed(b"\r\n") == [KeepAlive()]
    assert parser.feed(b"\r\n\r\n\r\n\r\n") == [KeepAlive(), KeepAlive()]
    assert parser.feed(b"\n\n\n" + OK) == [parse(OK)]


@pytest.mark.parametrize("stray", [b"\n", b"\r", b"\r\r", b"\n\r", b"\r\n\n"])
def test_a_keep_alive_behind_stray_line_ends(stray: bytes) -> None:
    """It is found at once, whether the bytes come together or not."""
    assert StreamParser().feed(stray + b"\r\n\r\n") == [KeepAlive()]
    parser = StreamParser()
    assert parser.feed(stray) == [] and parser.feed(b"\r\n\r\n") == [KeepAlive()]


def test_bodies_may_look_like_heads() -> None:
    """Only Content-Length ends a body."""
    inner = OK + b"\r\n\r\n"
    data = changed(b"Length: 5\r\n\r\nhello", b"Length: %d\r\n\r\n" % len(inner))
    (found,) = StreamParser().feed(data + inner)
    assert isinstance(found, Request) and found.body == inner


@pytest.mark.parametrize(
    "bad",
    [
        changed(b"Content-Length: 5\r\n", b""),
        changed(b"Length: 5", b"Length: -1"),
        changed(b"Length: 5", b"Length: 5, 5"),
        changed(b"CSeq: 1 MESSAGE", b"CSeq: 1 INVITE"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\n\n",
    ],
)
def test_a_fault_kills_the_stream(bad: bytes) -> None:
    """It raises, and again at whatever comes after."""
    parser = StreamParser()
    with pytest.raises(SipMalformed):
        parser.feed(bad + MESSAGE)
    with pytest.raises(SipMalformed):
        parser.feed(MESSAGE)


def test_what_came_before_a_fault_is_not_lost() -> None:
    """The whole messages of the same bytes come first, then the fault."""
    parser = StreamParser()
    found = parser.feed(MESSAGE + OK + b"rubbish\r\n\r\n" + MESSAGE)
    assert found == [parse(MESSAGE), parse(OK)]
    assert isinstance(parser.fault, SipMalformed)
    with pytest.raises(SipMalformed):
        parser.feed(b"")


def test_too_large_is_known_at_once() -> None:
    """A Content-Length over the bound is refused before its bytes come."""
    parser = StreamParser(max_body=4)
    with pytest.raises(SipTooLarge) as caught:
        parser.feed(MESSAGE[:-5])
    assert caught.value.request is not None
    assert caught.value.request.response(513).status == 513


def test_a_head_without_end_is_refused() -> None:
    """64 KiB without an empty line are enough."""
    parser = StreamParser()
    assert parser.feed(MESSAGE[:30]) == []
    with pytest.raises(SipTooLarge):
        for _ in range(70):
            parser.feed(b"X: " + b"y" * 1000 + b"\r\n")


def test_body_bytes_wait_for_the_rest() -> None:
    """A message whose body is not all there is not given out."""
    parser = StreamParser()
    assert parser.feed(MESSAGE[:-1]) == []
    (found,) = parser.feed(MESSAGE[-1:] + OK[:10])
    assert found == parse(MESSAGE)
    (found,) = parser.feed(OK[10:])
    assert isinstance(found, Response)


def test_keep_alives_are_equal() -> None:
    """They carry nothing."""
    assert KeepAlive() == KeepAlive() and hash(KeepAlive()) == hash(KeepAlive())
    assert KeepAlive() != object()
