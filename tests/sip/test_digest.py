"""Digest: the examples of the RFCs, and what a server must not let pass."""

from __future__ import annotations

import pytest

from gateway.errors import Malformed
from gateway.sip.digest import (
    Challenge,
    Challenger,
    Verdict,
    authorization,
    choose,
    ha1,
    parse_credentials,
)

# RFC 7616 3.9.1; RFC 2617 3.5.
NONCE_7616 = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
OPAQUE_7616 = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
CNONCE_7616 = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
MD5_7616 = "8ca523f5e9506fed4657c9700eebdbec"
SHA_7616 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"


@pytest.mark.parametrize(
    ("algorithm", "response"), [("MD5", MD5_7616), ("SHA-256", SHA_7616)]
)
def test_examples_of_rfc_7616(algorithm: str, response: str) -> None:
    """3.9.1: both algorithms, by password and by its hash."""
    challenge = Challenge.parse(
        'Digest realm="http-auth@example.org", qop="auth, auth-int", '
        f"algorithm={algorithm}, "
        f'nonce="{NONCE_7616}", opaque="{OPAQUE_7616}"'
    )
    kept = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
    for password, hashed in (("Circle of Life", None), (None, kept)):
        value = authorization(
            challenge,
            method="GET",
            uri="/dir/index.html",
            username="Mufasa",
            cnonce=CNONCE_7616,
            password=password,
            ha1=hashed,
        )
        pairs = parse_credentials(value)
        assert pairs["response"] == response
        assert pairs["algorithm"] == algorithm and pairs["opaque"] == OPAQUE_7616
        assert (pairs["qop"], pairs["nc"]) == ("auth", "00000001")
        assert "nc=00000001" in value and "qop=auth," in value


@pytest.mark.parametrize(
    ("qop", "response"),
    [
        (', qop="auth"', "6629fae49393a05397450978507c4ef1"),
        ("", "670fd8c2df070c60b045671b8b24ff02"),
    ],
)
def test_examples_of_rfc_2617(qop: str, response: str) -> None:
    """3.5, and the same without qop (3.2.2.1): no nc, no cnonce, no algorithm."""
    challenge = Challenge.parse(
        'Digest realm="testrealm@host.com"' + qop + ", "
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    )
    value = authorization(
        challenge,
        method="GET",
        uri="/dir/index.html",
        username="Mufasa",
        password="Circle Of Life",
        cnonce="0a4f113b",
    )
    pairs = parse_credentials(value)
    assert pairs["response"] == response
    assert "algorithm" not in pairs and ("nc" in pairs) == bool(qop)


def test_the_strongest_readable_challenge_is_chosen() -> None:
    """RFC 7616 3.7: SHA-256 before MD5, unknown ones passed over."""
    md5 = 'Digest realm="a", nonce="1"'
    sha = 'Digest realm="a", nonce="2", algorithm=sha-256'
    other = 'Digest realm="a", nonce="3", algorithm=SHA-512-256'
    integrity = 'Digest realm="a", nonce="4", qop="auth-int"'
    chosen = choose([other, md5, sha, "Basic realm=x", integrity])
    assert chosen is not None and chosen.nonce == "2"
    assert choose([other, "", "Digest"]) is None and choose([]) is None
    assert Challenge.parse(md5 + ", stale=TRUE").stale


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic abc",
        "Digest",
        'Digest realm="a"',
        'Digest nonce="a"',
        'Digest realm="a", nonce=""',
        'Digest realm="a" nonce="b"',
        'Digest realm="a", nonce="b", realm="c"',
        'Digest realm="a", nonce="b',
        'Digest realm="a", nonce="b", ;',
    ],
)
def test_bad_challenges(value: str) -> None:
    """What cannot be answered raises."""
    with pytest.raises(Malformed):
        Challenge.parse(value)


def test_a_secret_is_needed() -> None:
    """Neither password nor hash is our defect."""
    with pytest.raises(ValueError, match="password"):
        authorization(
            Challenge(realm="a", nonce="b"),
            method="A",
            uri="b",
            username="c",
            cnonce="d",
        )


REALM = "example.com"


class Pair:
    """A challenger and the answers of one who knows the password."""

    def __init__(self, lifetime: float = 60, max_nonces: int = 100) -> None:
        self.server = Challenger(REALM, b"secret", lifetime, max_nonces=max_nonces)
        self.number = 0

    def challenge(self, now: float = 0, algorithm: str = "MD5") -> Challenge:
        self.number += 1
        text = self.server.challenge(now, f"r{self.number}", algorithm=algorithm)
        return Challenge.parse(text)

    def answer(self, challenge: Challenge, nc: int = 1, password: str = "pw") -> str:
        return authorization(
            challenge,
            method="REGISTER",
            uri="sip:example.com",
            username="alice",
            password=password,
            cnonce="c",
            nc=nc,
        )

    def check(self, value: str, now: float = 1, method: str = "REGISTER") -> Verdict:
        return self.server.check(value, method, {"alice": "pw"}.get, b"", now)


YES, STALE = Verdict(True, False, "alice"), Verdict(False, True, "alice")
NO = Verdict(False, False, "alice")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_right_credentials_pass(algorithm: str) -> None:
    """Both algorithms, several uses with growing count."""
    pair = Pair()
    challenge = pair.challenge(algorithm=algorithm)
    assert challenge.algorithm == algorithm
    assert [pair.check(pair.answer(challenge, nc)) for nc in (1, 2, 9)] == [YES] * 3


def test_wrong_credentials_do_not() -> None:
    """Password, user, method, realm, URI and qop must be right."""
    pair = Pair()
    good = pair.answer(pair.challenge())
    assert pair.check(pair.answer(pair.challenge(), password="PW")) == NO
    assert pair.check(good, method="MESSAGE") == NO
    assert pair.check(good.replace('realm="example.com"', 'realm="x"')) == NO
    assert pair.check(good.replace('uri="sip:example.com"', 'uri="sip:x"')) == NO
    assert pair.check(good.replace("qop=auth", "qop=auth-int")) == NO
    assert pair.check(good.replace("nc=00000001", "nc=1")) == NO
    assert pair.check(good.replace('cnonce="c"', 'cnonce=""')) == NO
    assert pair.check(good.replace("algorithm=MD5", "algorithm=MD4")) == NO
    assert pair.check(good.replace('"alice"', '"bob"')) == Verdict(False, False, "bob")
    assert pair.check("Digest username=alice") == Verdict(False, False, "")
    assert pair.check("Basic YWxpY2U6cHc=") == Verdict(False, False, "")
    assert pair.check(good) == YES


def test_an_empty_password_is_no_missing_one() -> None:
    """An unknown user does not pass with the empty password."""
    pair = Pair()
    value = pair.answer(pair.challenge(), password="")
    assert pair.server.check(value, "REGISTER", lambda user: None, b"", 1) == NO


def test_credentials_are_for_one_uri() -> None:
    """RFC 7616 3.4.6: they are not good for another request."""
    pair = Pair()
    value = pair.answer(pair.challenge())
    know = {"alice": "pw"}.get
    other = pair.server.check(value, "REGISTER", know, b"", 1, uri="sip:else")
    assert other == NO
    right = pair.server.check(value, "REGISTER", know, b"", 1, uri="sip:example.com")
    assert right == YES


def test_replays_are_stale() -> None:
    """RFC 7616 3.3: a count that was used is not used again."""
    pair = Pair()
    challenge = pair.challenge()
    assert pair.check(pair.answer(challenge, 5)) == YES
    assert pair.check(pair.answer(challenge, 5)) == STALE
    assert pair.check(pair.answer(challenge, 4)) == STALE
    assert pair.check(pair.answer(challenge, 6)) == YES


def test_nonces_end() -> None:
    """Past its life, from the future, or signed by another, a nonce is stale."""
    pair = Pair(lifetime=60)
    value = pair.answer(pair.challenge(now=100))
    assert pair.check(value, now=160.5) == STALE
    assert pair.check(value, now=90) == STALE
    assert pair.check(value, now=159) == YES
    foreign = Challenger(REALM, b"other", 60).challenge(100, "r")
    assert pair.check(pair.answer(Challenge.parse(foreign)), now=100) == STALE
    made_up = Challenge(realm=REALM, nonce="abc", qop="auth")
    assert pair.check(pair.answer(made_up), now=100) == STALE


def test_without_qop_a_nonce_serves_once() -> None:
    """RFC 2617 clients pass, and cannot be replayed."""
    pair = Pair()
    challenge = pair.challenge()
    old = Challenge(realm=REALM, nonce=challenge.nonce)
    assert pair.check(pair.answer(old)) == YES
    assert pair.check(pair.answer(old)) == STALE


def test_memory_of_nonces_is_bounded_and_forgets_safely() -> None:
    """What was forgotten is stale, never fresh again."""
    pair = Pair(max_nonces=3)
    answers = [pair.answer(pair.challenge(now=n)) for n in range(10)]
    assert [pair.check(a, now=10) for a in answers] == [YES] * 10
    assert len(pair.server._used) == 3
    assert [pair.check(a, now=10) for a in answers] == [STALE] * 10
    assert pair.check(pair.answer(pair.challenge(now=100)), now=100) == YES
    assert len(pair.server._used) == 1


def test_a_challenge_says_stale_and_takes_only_tokens() -> None:
    """The words of the challenge; a random part with dots would be ambiguous."""
    server = Challenger(REALM, b"s", 60)
    text = server.challenge(1.5, "abc", stale=True)
    assert Challenge.parse(text).stale and 'nonce="1500.abc.' in text
    for bad in ("", "a.b", 'a"b', "a b"):
        with pytest.raises(ValueError, match="random"):
            server.challenge(1, bad)
