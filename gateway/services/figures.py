"""The figures of a node: what the operator's meters show, and what is ill.

Counters only grow; gauges are read at the moment they are asked for. Names are fixed by
``tests/services/test_figures.py``, which moves each of them.
"""

from __future__ import annotations

from typing import Protocol

from gateway.errors import Unreachable
from gateway.igateway import Figures
from gateway.services.access import Access
from gateway.services.ledger import Ledger
from gateway.services.outbox import Outbox
from gateway.services.pressure import Pressure
from gateway.services.registration import Registrations
from gateway.services.sessions import Sessions
from gateway.services.ua import UserAgent
from gateway.store import Store


class Measured(Protocol):
    """The parts of a node that have something to show."""

    access: Access
    ledger: Ledger
    outbox: Outbox
    pressure: Pressure
    registrations: Registrations
    sessions: Sessions
    store: Store
    ua: UserAgent
    lag: float


async def figures(node: Measured) -> Figures:
    """Gather every figure; the store's are left out while it is away."""
    gathered = Figures()
    _counters(node, gathered)
    gathered.gauge("imps_sessions", "Open sessions", len(node.sessions))
    gathered.gauge(
        "imps_offers", "Server transactions that wait for handsets", _offers(node)
    )
    gathered.gauge(
        "imps_registrations", "Subscribers registered at the core", _registered(node)
    )
    gathered.gauge("imps_outbox_lines", "Roads that wait to SIP", len(node.outbox))
    gathered.family(
        "imps_sip_transactions",
        "SIP transactions by kind",
        ("kind",),
        {(kind,): count for kind, count in node.ua.counts().items()},
    )
    gathered.family(
        "imps_peer_up",
        "Whether a peer answered last (1) or is passed over (0)",
        ("peer",),
        {(name,): float(up) for name, up in await peers(node)},
    )
    gathered.gauge(
        "imps_loop_lag_seconds", "How late the last tick of the reactor was", node.lag
    )
    gathered.family("imps_store", "Rows and writes of the store", ("what",), {})
    try:
        counts = await node.store.counts()
    except Unreachable:
        return gathered
    gathered.family(
        "imps_store",
        "Rows of the store's tables, by table and state, and writes that wait",
        ("what",),
        {(what,): count for what, count in counts.items()},
    )
    return gathered


def _counters(node: Measured, gathered: Figures) -> None:
    """Gather what only grows."""
    gathered.counter(
        "imps_messages",
        "Messages by what happened to them, their road and the reason",
        ("event", "road", "reason"),
        dict(node.ledger.counts),
    )
    gathered.counter(
        "imps_logins",
        "Logins by their outcome, a CSP status code",
        ("code",),
        {(str(code),): count for code, count in node.access.outcomes.items()},
    )
    gathered.counter(
        "imps_put_off",
        "New work put off under overload, by road; session: more than its share",
        ("road",),
        {(road,): count for road, count in node.pressure.refused.items()},
    )


async def peers(node: Measured) -> list[tuple[str, bool]]:
    """Name the store and each core address, and whether it can be had."""
    found = [
        (f"core {hop.transport}:{hop.host}:{hop.port}", up)
        for hop, up in node.ua.core_states()
    ]
    try:
        await node.store.subscriber_revision()
        found.append(("store", True))
    except Unreachable:
        found.append(("store", False))
    return found


async def ills(node: Measured) -> list[str]:
    """Name what keeps the gateway from doing its work; nothing when all is well."""
    states = await peers(node)
    cores = [up for name, up in states if name.startswith("core ")]
    found = [f"{name} cannot be had" for name, up in states if not up]
    if any(cores):  # one that answers is enough
        found = [ill for ill in found if not ill.startswith("core ")]
    return found


def _offers(node: Measured) -> int:
    return sum(session.open_offers for session in node.sessions.all())


def _registered(node: Measured) -> int:
    return len(node.registrations)
