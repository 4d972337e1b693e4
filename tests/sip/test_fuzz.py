"""Bytes near to SIP and far from it: nothing but SipMalformed comes out."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.sip.digest import parse_credentials
from gateway.sip.headers import Via, parse_params, split_list
from gateway.sip.message import NameAddr, SipTooLarge, Uri, parse
from tests.sip.hostile import check_datagram, check_stream
from tests.sip.samples import MESSAGE, OK

_WORDS = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n ",
        b"\r\n\r\n",
        b",",
        b";",
        b'"',
        b"\\",
        b"<",
        b">",
        b"(",
        b":",
        b"=",
        b" ",
        b"\t",
        b"\0",
        b"\xff",
        b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n",
        b"Content-Length: 3\r\n",
        b"l: 0\r\n",
        b"INVITE",
        b"ACK",
        b"-1",
        b"99999999999999999999",
        "\u0665\u2028\u00a0".encode(),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good message, cut, doubled or interspersed in a few places."""
    data = draw(st.sampled_from([MESSAGE, OK, MESSAGE + b"\r\n\r\n" + OK]))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        new = draw(_WORDS | st.binary(max_size=6))
        data = data[:start] + new + data[end:]
    return data


@settings(max_examples=400, deadline=None)
@given(mutated() | st.binary(max_size=200))
def test_any_datagram(data: bytes) -> None:
    """It is read, or refused; what is read is written and read again."""
    check_datagram(data)


@settings(max_examples=200, deadline=None)
@given(
    mutated() | st.text("\r\nx", max_size=12).map(str.encode),
    st.lists(st.integers(0, 2000), max_size=8),
)
def test_any_stream(data: bytes, cuts: list[int]) -> None:
    """Where a stream is cut makes no difference."""
    check_stream(data, cuts)


HOSTILE = {
    "blanks": " " * 60000,
    "quotes": '"' * 60000,
    "escapes": '"' + "\\" * 59999,
    "angles": "<" * 60000,
    "comments": "(" * 60000,
    "commas": "," * 60000,
    "semicolons": ";" * 60000,
    "quoted commas": '"a,b",' * 10000,
    "equals": ";a=" * 20000,
    "digits": "SIP/2.0/UDP h:" + "1" * 60000,
    "name and blanks": "a" * 30000 + " " * 30000,
    "params and blanks": ";a " + " " * 60000 + "=",
    "digest": "Digest " + "a=b " * 15000,
    "brackets": "sip:[" + ":" * 60000,
    "ats": "sip:" + "@" * 60000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_memory_stays_near_the_size_of_the_value(text: str) -> None:
    """A value made to be hard costs a small multiple of its length in memory."""
    readers = (
        split_list,
        parse_params,
        parse_credentials,
        Via.parse,
        NameAddr.parse,
        Uri.parse,
    )
    tracemalloc.start()
    try:
        for read in readers:
            try:
                read(text)
            except Malformed:
                continue
        assert tracemalloc.get_traced_memory()[1] < 10 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("line", [b"X: y\r\n", b"Via: h\r\n", b" x\r\n", b"\tx\r\n"])
def test_many_lines_are_refused(line: bytes) -> None:
    """A head full of short lines is too large, folded or not."""
    data = MESSAGE.replace(b"\r\nTo:", b"\r\n" + line * 9000 + b"To:")
    with pytest.raises(SipTooLarge):
        parse(data)
