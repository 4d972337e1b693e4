"""The short way through a plain response reads what the long way reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.sip import message
from gateway.sip.message import Response, parse

PLAIN = (
    "SIP/2.0 200 OK\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bKabcd;rport=5062\r\n"
    "From: <sip:alice@example.com>;tag=abc\r\nTo: <sip:bob@example.com>;tag=x\r\n"
    "Call-ID: abcdef\r\nCSeq: 1 MESSAGE\r\nServer: core 1.0\r\n"
    "Content-Length: 0\r\n\r\n"
)


def read_the_long_way(data: bytes) -> Response | None:
    """Read a response with the short way closed; None when it is none."""
    short = message._plain_response
    message._plain_response = lambda data: None
    try:
        found = parse(data)
    except Malformed:
        return None
    finally:
        message._plain_response = short
    assert isinstance(found, Response)
    return found


def test_the_short_way_is_taken_and_agrees():
    data = PLAIN.encode()
    short = message._plain_response(data)
    assert short is not None
    assert short == read_the_long_way(data) == parse(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SIP/2.0 200 OK", "SIP/2.0 200 "),
        ("SIP/2.0 200 OK", "SIP/2.0 700 OK"),
        ("SIP/2.0 200 OK", "SIP/2.1 200 OK"),
        ("rport=5062", "rport=5062, SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKb"),
        ("rport=5062", "received=[::1]  "),
        (
            "<sip:alice@example.com>;tag=abc",
            '"Al, ice" <sip:alice@example.com>;tag=abc',
        ),
        ("<sip:bob@example.com>;tag=x", "sip:bob@example.com;tag=x"),
        ("<sip:bob@example.com>;tag=x", "<sip:bob@example.com>"),
        ("<sip:bob@example.com>;tag=x", "<sip:b<ob@example.com>;tag=x"),
        ("1 MESSAGE", "9999999999 MESSAGE"),
        ("1 MESSAGE", "1 message"),
        ("1 MESSAGE", "1"),
        ("Call-ID: abcdef", "Call-ID: "),
        ("Call-ID: abcdef", "Call-ID: a\r\nCall-ID: b"),
        ("Content-Length: 0", "Content-Length: 1"),
        ("Server: core 1.0", "Server: c\u00f6re"),
        ("Server: core 1.0", "Server: core\r\n folded"),
        ("Server: core 1.0", "Server: a\0b"),
    ],
)
def test_whatever_differs_is_read_as_on_the_long_way(old, new):
    data = PLAIN.replace(old, new).encode()
    short = message._plain_response(data)
    if short is not None:
        assert short == read_the_long_way(data)


_CHARACTERS = st.characters(min_codepoint=0, max_codepoint=0x17F)


@given(st.integers(0, len(PLAIN)), st.integers(0, 6), st.text(_CHARACTERS, max_size=6))
def test_any_change_is_read_alike(at, gone, more):
    data = (PLAIN[:at] + more + PLAIN[at + gone :]).encode()
    short = message._plain_response(data)
    if short is not None:
        assert short == read_the_long_way(data)
