"""Who is served here: a subscriber by any address that names him.

A number alias and a name of the same subscriber are one user (interworking address-map
2 and 6): whatever is addressed to the number goes to the name.
"""

from __future__ import annotations

from gateway.identity import WVAddress, from_sip
from gateway.log import Logger
from gateway.services.sessions import FORCED, Sessions
from gateway.store import Store, Subscriber


async def served(store: Store, aor: str, domain: str) -> Subscriber | None:
    """Find the enabled subscriber of an AoR, or of a number of ours, else None.

    ``domain`` is the SIP domain of numbers. Raises Unreachable.
    """
    found = await store.subscriber(aor)
    if found is None:
        named: WVAddress = from_sip(aor, domain)
        if named.is_msisdn and named.domain == domain:
            found = await store.subscriber_by_msisdn(named.user)
    return found if found is not None and found.enabled else None


class Watch:
    """Ends the sessions of those who are subscribers no more.

    Removed or disabled by the operator, a user hears Disconnect 601 at his next poll.
    """

    _log = Logger()

    def __init__(self, store: Store, sessions: Sessions) -> None:
        self._store = store
        self._sessions = sessions
        self._seen: int | None = None

    async def look(self) -> None:
        """Look whether the directory has changed. Raises Unreachable."""
        revision = await self._store.subscriber_revision()
        if revision == self._seen:
            return
        first, self._seen = self._seen is None, revision
        if first:
            return
        for aor in {session.aor for session in self._sessions.all()}:
            found = await self._store.subscriber(aor)
            if found is not None and found.enabled:
                continue
            self._log.info("sessions end: no subscriber any more", aor=aor)
            for session in list(self._sessions.of(aor)):
                await self._sessions.close(session, FORCED)
