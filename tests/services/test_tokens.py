"""Identifiers: fair, unguessable, unique (docs/semantics.md 5)."""

from __future__ import annotations

from gateway.services.tokens import CountedTokens, RandomTokens


def test_tokens_have_no_favourite_letters() -> None:
    """22 letters and digits, all of them about as often; none twice."""
    state = [1]

    def source(count: int) -> bytes:
        out = bytearray()
        for _ in range(count):
            state[0] = (state[0] * 1103515245 + 12345) % 2**31
            out.append(state[0] >> 16 & 0xFF)
        return bytes(out)

    token = RandomTokens(source)
    tokens = [token() for _ in range(5000)]
    assert len(set(tokens)) == 5000
    assert {len(t) for t in tokens} == {22}
    counts: dict[str, int] = {}
    for letter in "".join(tokens):
        counts[letter] = counts.get(letter, 0) + 1
    assert len(counts) == 62
    assert max(counts.values()) < 1.25 * min(counts.values())


def test_a_biased_byte_is_thrown_away() -> None:
    """Bytes above the last multiple of 62 would favour the first letters."""
    stock = iter([b"\xff" * 4096, b"\x00" * 4096])
    assert RandomTokens(lambda count: next(stock))() == "A" * 22


def test_counted_tokens_differ() -> None:
    """Unique under one prefix."""
    token = CountedTokens("p")
    assert [token() for _ in range(3)] == ["p1", "p2", "p3"]
