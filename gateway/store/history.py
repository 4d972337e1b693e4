"""Statements and operations on the history of messages ("where is my message?")."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import bindparam, select

from gateway.store import HistoryEntry
from gateway.store.link import Link, Row, Sql
from gateway.store.messages import storable
from gateway.store.schema import history, history_users
from gateway.store.writer import Operation

_h = history.c
_u = history_users.c

_INSERT = Sql(lambda insert: insert(history).on_conflict_do_nothing())
_INSERT_USER = Sql(lambda insert: insert(history_users).on_conflict_do_nothing())
OF_MESSAGE = Sql(
    lambda _: (
        select(*history.columns)
        .where(_h.message_id == bindparam("message_id"))
        .order_by(_h.at, _h.event)
    )
)
OF_USER = Sql(
    lambda _: (
        select(_u.message_id)
        .where(_u.aor == bindparam("aor"))
        .order_by(_u.at.desc(), _u.message_id.desc())
        .limit(bindparam("limit"))
    )
)


def from_row(row: Row) -> HistoryEntry:
    """Read a row; the users are not part of it."""
    return HistoryEntry(
        message_id=row[0], at=row[1], event=row[2], detail=json.loads(row[3])
    )


def _add(link: Link, batch: Sequence[Sequence[HistoryEntry]]) -> list[None]:
    entries = [entry for entries in batch for entry in entries]
    rows = [
        {
            "message_id": entry.message_id,
            "at": entry.at,
            "event": entry.event,
            "detail": json.dumps(entry.detail) if entry.detail else "{}",
        }
        for entry in entries
    ]
    users = [
        {"aor": storable(user), "message_id": entry.message_id, "at": entry.at}
        for entry in entries
        for user in entry.users
    ]
    if rows:
        link.many(_INSERT, rows)
    if users:
        link.many(_INSERT_USER, users)
    return [None] * len(batch)


ADD = Operation("add history", _add)
