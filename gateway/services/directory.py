"""Who is served here: a subscriber by any address that names him.

A number alias and a name of the same subscriber are one user (interworking address-map
2 and 6): whatever is addressed to the number goes to the name.
"""

from __future__ import annotations

from gateway.identity import WVAddress, from_sip
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
