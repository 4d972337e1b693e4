"""A user's account at the core: credentials, and the challenges met so far.

RFC 3261 22 (Digest on 401 and 407), RFC 7616 (nonce counts, stale nonces).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.sip import digest
from gateway.sip.message import Request, Response

CHALLENGES = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
ANSWERS = {401: "Authorization", 407: "Proxy-Authorization"}


@dataclass(slots=True)
class _Known:
    """A challenge that was met, and how often its nonce was used since."""

    challenge: digest.Challenge
    count: int = 0
    methods: set[str] = field(default_factory=set)
    """The methods of the requests that it, or one before it, was put to."""


@dataclass(slots=True)
class Account:
    """What a user needs towards the core: credentials and the road it gave him."""

    aor: str
    user: str = ""
    password: str = field(default="", repr=False)
    route: tuple[str, ...] = ()
    _known: dict[int, _Known] = field(default_factory=dict, repr=False)

    def foreseen(self, method: str) -> int:
        """Count the challenges that a request would meet, had they not been met."""
        return sum(method in known.methods for known in self._known.values())

    def authorize(self, request: Request, cnonce: Callable[[], str]) -> dict[int, str]:
        """Add the answers to the challenges met before; the nonces answered.

        Each nonce has a count of its own, or a strict server takes it for a replay.
        """
        answered: dict[int, str] = {}
        for status, known in self._known.items():
            known.count += 1
            answered[status] = known.challenge.nonce
            request.headers.set(
                ANSWERS[status],
                digest.authorization(
                    known.challenge,
                    method=request.method,
                    uri=request.uri,
                    username=self.user,
                    password=self.password,
                    body=request.body,
                    cnonce=cnonce(),
                    nc=known.count,
                ),
            )
        return answered

    def challenged(self, response: Response, answered: Mapping[int, str]) -> bool:
        """Learn the challenge of a 401 or 407; False when it cannot be answered.

        ``answered`` holds the nonces that the refused request carried. Of two requests
        on their way at once both may be given the same nonce, which is no refusal.
        """
        offered = response.headers.values(CHALLENGES[response.status])
        challenge = digest.choose(offered)
        if challenge is None or not self.user:
            return False
        if answered.get(response.status) == challenge.nonce:
            return False  # the very nonce that was just answered: refused
        known = self._known.get(response.status)
        if known is None:
            known = self._known[response.status] = _Known(challenge)
        elif known.challenge.nonce != challenge.nonce:
            known.challenge, known.count = challenge, 0
        known.methods.add(response.cseq.method)
        return True

    def newest(self, status: int) -> digest.Challenge:
        """Give the challenge that was learnt last from a 401 or a 407."""
        return self._known[status].challenge

    def forget(self) -> None:
        """Drop the challenges met: the credentials are others now."""
        self._known.clear()
