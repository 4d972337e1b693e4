"""The sweepers and gauges: no table grows for ever (``docs/semantics.md`` 6).

A sweep removes a thousand rows at most in one write, so that it never holds up what a
handset waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Table,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    tuple_,
)

from gateway.store.link import Link, Params, Sql
from gateway.store.schema import (
    history,
    history_users,
    messages,
    registrations,
    sessions,
    subscribers,
)
from gateway.store.writer import Operation

CHUNK = 1000
_DAY = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long and how much the tables keep; times in microseconds, else rows."""

    finished_for: int = 3600 * 1_000_000
    """A finished message, so that a late repetition is still known."""
    ended_for: int = _DAY
    """An ended session; and one of a lost node past its KeepAliveTime."""
    history_for: int = 30 * _DAY
    messages: int = 1_000_000
    sessions: int = 500_000
    subscribers: int = 1_000_000
    history: int = 2_000_000


_before = bindparam("before", type_=messages.c.sent_at.type)


def _delete(table: Table, where: ColumnElement[bool], *order: object) -> Sql:
    """Delete up to ``limit`` rows; the deleted rows' first key column is returned."""
    keys = list(table.primary_key.columns)
    chosen = select(*keys).where(where).limit(bindparam("limit"))
    key = keys[0] if len(keys) == 1 else tuple_(*keys)
    statement = delete(table).where(key.in_(chosen)).returning(keys[0])
    return Sql(lambda _: statement)


_s = sessions.c
_SWEEPS: dict[str, Sql] = {
    "messages": _delete(messages, messages.c.finished_at < _before),
    "sessions": _delete(sessions, _s.ended_at < _before),
    "abandoned": _delete(
        sessions,
        _s.ended_at.is_(None)
        & (_s.last_activity + _s.keep_alive * literal_column("1000000") < _before),
    ),
    "registrations": _delete(
        registrations,
        ~exists().where(subscribers.c.aor == registrations.c.aor),
    ),
    "history": _delete(history, history.c.at < _before),
    "history_users": _delete(history_users, history_users.c.at < _before),
}
TABLES = tuple(_SWEEPS)


def _nth(column: ColumnElement[int]) -> Sql:
    """Find the time before which rows are too many, newest first."""
    return Sql(
        lambda _: (
            select(column)
            .where(column.is_not(None))
            .order_by(column.desc())
            .limit(literal_column("1"))
            .offset(bindparam("keep"))
        )
    )


_NTH: dict[str, Sql] = {
    "messages": _nth(messages.c.finished_at),
    "sessions": _nth(_s.ended_at),
    "history": _nth(history.c.at),
    "history_users": _nth(history_users.c.at),
}


def _sweep(link: Link, batch: Sequence[tuple[str, Params]]) -> list[int]:
    return [len(link.rows(_SWEEPS[table], params)) for table, params in batch]


SWEEP = Operation("sweep", _sweep)


def horizon(table: str, before: int, keep: int, link: Link) -> int:
    """Return the time before which rows of a table go: by age, or by the limit."""
    if table not in _NTH:
        return before
    rows = link.rows(_NTH[table], {"keep": max(keep, 0)})
    # Its own row is one too many, too.
    return max(before, rows[0][0] + 1) if rows else before


_COUNTS: dict[str, Sql] = {
    "subscribers": Sql(lambda _: select(func.count()).select_from(subscribers)),
    "messages_to_handset": Sql(lambda _: _count_waiting("to_handset")),
    "messages_to_sip": Sql(lambda _: _count_waiting("to_sip")),
    "messages_finished": Sql(
        lambda _: select(func.count()).where(messages.c.finished_at.is_not(None))
    ),
    "sessions_open": Sql(
        lambda _: select(func.count()).where(sessions.c.ended_at.is_(None))
    ),
    "sessions_ended": Sql(
        lambda _: select(func.count()).where(sessions.c.ended_at.is_not(None))
    ),
    "registrations": Sql(lambda _: select(func.count()).select_from(registrations)),
    "history": Sql(lambda _: select(func.count()).select_from(history)),
    "history_users": Sql(lambda _: select(func.count()).select_from(history_users)),
}


def _count_waiting(direction: str) -> ColumnElement[int]:
    return select(func.count()).where(  # type: ignore[return-value]
        messages.c.state.is_(None),
        messages.c.direction == literal_column(f"'{direction}'"),
    )


def counts(link: Link) -> dict[str, int]:
    """Count the rows of each table and state."""
    return {name: link.rows(sql, {})[0][0] for name, sql in _COUNTS.items()}
