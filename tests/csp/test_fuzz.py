"""Bytes of strangers: nothing but the decoder's own errors, whatever comes.

The long run is ``tests/fuzz/fuzz_csp_xml.py``.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.csp.envelope import Faulty
from gateway.csp.xmlsyntax import decode, encode
from gateway.errors import Malformed

SEEDS = [
    path.read_bytes()
    for path in sorted((Path(__file__).parents[1] / "vectors/own").glob("*.xml"))
]
PIECES = [
    b"<",
    b">",
    b"/",
    b"&",
    b"&#0;",
    b"]]>",
    b"<![CDATA[",
    b"<!--",
    b"<!DOCTYPE x>",
]


def judge(body: bytes) -> None:
    """Read ``body``; what can be read can be written, or says why not."""
    try:
        message = decode(body)
    except Malformed:
        return
    assert decode(body) == message
    for transaction in message.transactions:
        if isinstance(transaction.primitive, Faulty):
            return
    try:
        written = encode(message)
    except ValueError:
        return  # a decoder does without what an encoder owes
    assert decode(written).version is message.version


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400))
def test_any_bytes(body: bytes) -> None:
    """Nearly always no XML."""
    judge(body)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_mutated_messages(data: st.DataObject) -> None:
    """A good message with a stretch replaced, cut out or repeated."""
    seed = data.draw(st.sampled_from(SEEDS))
    start = data.draw(st.integers(0, len(seed)))
    end = min(len(seed), start + data.draw(st.integers(0, 40)))
    put = data.draw(
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from(PIECES),
            st.just(seed[start:end] * 2),
            st.sampled_from(SEEDS).map(lambda other: other[start:end]),
        )
    )
    judge(seed[:start] + put + seed[end:])
