"""Digest authentication for SIP: the answer to a challenge, and the challenger.

RFC 2617 3.2, RFC 7616 3, RFC 3261 22. MD5 and SHA-256, with qop ``auth`` and without
any. Nonces, cnonces and the time are passed in.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.errors import Malformed
from gateway.sip.headers import TOKEN, quote, unquote

# Strongest first (RFC 7616 3.7).
ALGORITHMS: Final[dict[str, str]] = {"SHA-256": "sha256", "MD5": "md5"}

_PAIR = re.compile(
    r"\s*+,?\s*+([A-Za-z0-9_*-]++)\s*+=\s*+(\"(?:[^\"\\]|\\.)*+\"|[^\s,\"]++)\s*+",
    re.DOTALL,
)


def parse_credentials(value: str) -> dict[str, str]:
    """Read ``Digest name=value, …``: names in lower case, values without quotes.

    Serves challenges and credentials alike. Raises Malformed when the scheme is not
    Digest, a pair is none, or a name stands twice.
    """
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        raise Malformed("the authentication scheme is not Digest")
    pairs: dict[str, str] = {}
    position = 0
    while position < len(rest):
        match = _PAIR.match(rest, position)
        if match is None or (position and "," not in match[0].partition("=")[0]):
            raise Malformed("Digest values are not a list of name=value")
        name = match[1].lower()
        if name in pairs:
            raise Malformed(f"the Digest value {name[:20]!r} stands twice")
        pairs[name] = unquote(match[2])
        position = match.end()
    return pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What WWW-Authenticate or Proxy-Authenticate asks for.

    ``algorithm`` is a key of ALGORITHMS; ``qop`` is ``auth`` or empty; ``named`` says
    whether the algorithm stood in the challenge (then it is repeated in the answer).
    """

    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: str = ""
    opaque: str | None = None
    stale: bool = False
    named: bool = False

    @classmethod
    def parse(cls, value: str) -> Challenge:
        """Read one challenge. Raises Malformed for what we cannot answer."""
        pairs = parse_credentials(value)
        if "realm" not in pairs or not pairs.get("nonce"):
            raise Malformed("a Digest challenge needs realm and nonce")
        algorithm = pairs.get("algorithm", "MD5").upper()
        if algorithm not in ALGORITHMS:
            raise Malformed("the Digest algorithm is neither MD5 nor SHA-256")
        offered = [word.strip().lower() for word in pairs.get("qop", "").split(",")]
        if any(offered) and "auth" not in offered:
            raise Malformed("the quality of protection is not auth")
        return cls(
            realm=pairs["realm"],
            nonce=pairs["nonce"],
            algorithm=algorithm,
            qop="auth" if "auth" in offered else "",
            opaque=pairs.get("opaque"),
            stale=pairs.get("stale", "").lower() == "true",
            named="algorithm" in pairs,
        )


def choose(challenges: list[str]) -> Challenge | None:
    """Choose the strongest challenge that we can answer (RFC 7616 3.7), or None."""
    readable = []
    for value in challenges:
        try:
            readable.append(Challenge.parse(value))
        except Malformed:
            continue
    strength = list(ALGORITHMS)
    return min(readable, key=lambda c: strength.index(c.algorithm), default=None)


def ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """Hash user, realm and password: what a server may keep instead of a password."""
    return _hash(algorithm, f"{username}:{realm}:{password}")


def authorization(
    challenge: Challenge,
    *,
    method: str,
    uri: str,
    username: str,
    password: str | None = None,
    ha1: str | None = None,
    body: bytes = b"",
    cnonce: str,
    nc: int = 1,
) -> str:
    """Answer a challenge: the value of Authorization or Proxy-Authorization.

    ``uri`` is the Request-URI as sent; ``ha1`` stands for a password that is not kept.
    ``nc`` counts the uses of this nonce from 1; ``cnonce`` is random. ``body`` is
    hashed by auth-int alone, which is never chosen. Raises ValueError without any
    secret.
    """
    if ha1 is None:
        if password is None:
            raise ValueError("Digest needs a password or its hash")
        text = f"{username}:{challenge.realm}:{password}"
        ha1 = _hash(challenge.algorithm, text)
    count = f"{nc:08x}"
    answer = _answer(
        challenge.algorithm,
        ha1,
        challenge.nonce,
        challenge.qop,
        count,
        cnonce,
        method,
        uri,
    )
    parts = [
        f"username={quote(username)}",
        f"realm={quote(challenge.realm)}",
        f"nonce={quote(challenge.nonce)}",
        f"uri={quote(uri)}",
        f'response="{answer}"',
    ]
    if challenge.named:
        parts.append(f"algorithm={challenge.algorithm}")
    if challenge.qop:
        parts += [f"qop={challenge.qop}", f"nc={count}", f"cnonce={quote(cnonce)}"]
    if challenge.opaque is not None:
        parts.append(f"opaque={quote(challenge.opaque)}")
    return "Digest " + ", ".join(parts)


class Verdict(NamedTuple):
    """What ``Challenger.check`` found.

    ``stale`` means that the secret was right and the nonce was not: challenge again
    with stale=TRUE. ``username`` is whom the credentials name, also when not ok.
    """

    ok: bool
    stale: bool
    username: str


_COUNT = re.compile(r"[0-9A-Fa-f]{8}\Z")
_NOT_OK: Final = Verdict(False, False, "")


class Challenger:
    """The server's half: nonces that carry their own time, each use counted.

    A nonce is ``time.random.signature``: no table of those given out is needed. Only
    the highest count of each used one is kept, for as long as it lives, and of at most
    ``max_nonces``: the nonces of the oldest among them are then stale.
    """

    def __init__(
        self, realm: str, secret: bytes, lifetime: float, *, max_nonces: int = 65536
    ) -> None:
        """``secret`` signs nonces; ``lifetime`` is seconds a nonce serves."""
        self.realm = realm
        self._secret = secret
        self._lifetime = lifetime
        self._max = max_nonces
        self._used: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._forgotten = float("-inf")

    def challenge(
        self,
        now: float,
        nonce_random: str,
        stale: bool = False,
        *,
        algorithm: str = "MD5",
    ) -> str:
        """Make a challenge (RFC 3261 22.4); ``nonce_random`` is an unguessable token.

        Send one for each of ALGORITHMS, strongest first, to offer a choice.
        """
        if TOKEN.match(nonce_random) is None or "." in nonce_random:
            raise ValueError("the random part of a nonce is a token without dots")
        stamp = f"{int(now * 1000)}.{nonce_random}"
        nonce = f"{stamp}.{self._sign(stamp)}"
        ending = ", stale=TRUE" if stale else ""
        return (
            f"Digest realm={quote(self.realm)}, nonce={quote(nonce)}, "
            f'algorithm={algorithm}, qop="auth"{ending}'
        )

    def check(
        self,
        header: str,
        method: str,
        password_of: Callable[[str], str | None],
        body: bytes = b"",
        now: float = 0.0,
        *,
        uri: str | None = None,
    ) -> Verdict:
        """Judge the value of an Authorization or Proxy-Authorization.

        ``password_of`` gives the password of a user name or None. ``uri``, when given,
        must be what the credentials are for (RFC 7616 3.4.6). Credentials without qop
        are taken (RFC 2617) but serve once a nonce. Never raises for bad input.
        """
        try:
            given = parse_credentials(header)
            answer, nonce = given["response"], given["nonce"]
            username, digest_uri = given["username"], given["uri"]
        except (Malformed, KeyError):
            return _NOT_OK
        refused = Verdict(False, False, username)
        algorithm = given.get("algorithm", "MD5").upper()
        qop, count = given.get("qop", "").lower(), given.get("nc", "")
        cnonce = given.get("cnonce", "")
        if algorithm not in ALGORITHMS or given.get("realm") != self.realm:
            return refused
        if qop not in ("", "auth") or (uri is not None and uri != digest_uri):
            return refused
        if qop and (_COUNT.match(count) is None or not cnonce):
            return refused
        password = password_of(username)
        # An unknown user costs the same as a wrong password.
        secret = ha1(algorithm, username, self.realm, password or "")
        wanted = _answer(
            algorithm, secret, nonce, qop, count, cnonce, method, digest_uri
        )
        right = hmac.compare_digest(wanted.encode(), answer.lower().encode())
        if not right or password is None:
            return refused
        if not self._use(nonce, int(count, 16) if qop else 1, now):
            return Verdict(False, True, username)
        return Verdict(True, False, username)

    def _use(self, nonce: str, count: int, now: float) -> bool:
        """Note one use; False when the nonce is not ours, too old or replayed."""
        stamp, _, signature = nonce.rpartition(".")
        wanted = self._sign(stamp)
        if not hmac.compare_digest(signature.encode(), wanted.encode()):
            return False
        made = int(stamp.partition(".")[0]) / 1000
        if not made <= now + 1 or now - made > self._lifetime:
            return False
        self._sweep(now)
        before = self._used.get(nonce)
        if before is None and made <= self._forgotten:
            return False
        if before is not None and count <= before[1]:
            return False
        self._used[nonce] = (made, count)
        if len(self._used) > self._max:
            _, (oldest, _) = self._used.popitem(last=False)
            self._forgotten = max(self._forgotten, oldest)
        return True

    def _sweep(self, now: float) -> None:
        """Forget the first-used nonces that are past their life anyway."""
        while self._used:
            made, _ = next(iter(self._used.values()))
            if now - made <= self._lifetime:
                return
            self._used.popitem(last=False)

    def _sign(self, stamp: str) -> str:
        digest = hmac.new(self._secret, stamp.encode(), hashlib.sha256)
        return digest.hexdigest()[:32]


def _hash(algorithm: str, text: str) -> str:
    """Hash by an algorithm of ALGORITHMS, in hexadecimal."""
    digest = hashlib.new(ALGORITHMS[algorithm], usedforsecurity=False)
    digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _answer(
    algorithm: str,
    secret: str,
    nonce: str,
    qop: str,
    count: str,
    cnonce: str,
    method: str,
    uri: str,
) -> str:
    """Compute the response value (RFC 7616 3.4.1, without qop RFC 2617 3.2.2.1)."""
    ha2 = _hash(algorithm, f"{method}:{uri}")
    middle = f"{nonce}:{count}:{cnonce}:{qop}" if qop else nonce
    return _hash(algorithm, f"{secret}:{middle}:{ha2}")
