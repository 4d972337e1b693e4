"""The sections of the configuration that bound: ``[limits]`` and ``[offline]``."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.configtable import Table

_DAY = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``[limits]``: how much is worked on at a time; more is put off at once."""

    turn: float
    """Seconds that one turn of the reactor goes on taking new work."""
    requests: int
    """Requests of handsets that are worked on at a time."""
    writes: int
    """Writes that may wait for the store while new work is taken."""
    session_requests: int
    """POSTs a second of one session, in the long run."""
    session_bytes: int
    """Bytes a second of one session, in the long run."""
    session_burst: float
    """Seconds' worth of both that a session may use at once."""
    registrations: int
    """REGISTER requests a second after a start, at most about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """``[offline]``: the deferred message store; sizes in bytes, ages in seconds."""

    max_messages: int
    """A user's storage; 0 stands for none."""
    max_bytes: int
    max_size: int
    max_age: int
    default_age: int


def read_limits(table: Table) -> Limits:
    """Read ``[limits]``; faults gather in the table."""
    found = Limits(
        turn=table.seconds("turn", 0.05, minimum=0.001, maximum=10),
        requests=table.integer("requests", 5000, minimum=1),
        writes=table.integer("writes", 1000, minimum=1, maximum=10_000),
        session_requests=table.integer("session_requests", 200, minimum=1),
        session_bytes=table.size("session_bytes", 2**20, minimum=1),
        session_burst=table.seconds("session_burst", 10, maximum=3600),
        registrations=table.integer("registrations", 200, minimum=1),
    )
    table.finish()
    return found


def read_offline(table: Table) -> Offline:
    """Read ``[offline]``; faults gather in the table."""
    # A default never makes a fault: it gives way to the limit that was set.
    max_bytes = table.size("max_bytes", 2 * 2**20)
    max_age = table.duration("max_age", 7 * _DAY, minimum=1)
    found = Offline(
        max_messages=table.integer("max_messages", 255, maximum=1_000_000),
        max_bytes=max_bytes,
        max_size=table.size("max_size", min(300 * 2**10, max_bytes)),
        max_age=max_age,
        default_age=table.duration("default_age", min(3 * _DAY, max_age), minimum=1),
    )
    if found.default_age > found.max_age:
        table.fault("default_age", "must not be above max_age")
    if found.max_size > found.max_bytes:
        table.fault("max_size", "must not be above max_bytes")
    table.finish()
    return found
