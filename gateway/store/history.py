"""Statements and operations on the history of messages ("where is my message?")."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from sqlalchemy import Table, bindparam, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from gateway.store import HistoryEntry
from gateway.store.link import Insert, Link, Row, Sql
from gateway.store.messages import storable
from gateway.store.schema import history, history_users
from gateway.store.writer import Operation

_h = history.c
_u = history_users.c
_AT_ONCE = 5000


def _insert_all(table: Table, insert: Insert) -> ClauseElement:
    """Insert the rows of one JSON text: one step of the database for all of them.

    Row by row the writer thread would take the interpreter from the reactor as often.
    """
    names = ", ".join(column.name for column in table.columns)
    if insert is sqlite.insert:
        values = ", ".join(
            f"json_extract(value, '$[{index}]')" for index in range(len(table.columns))
        )
        return text(
            f"INSERT OR IGNORE INTO {table.name} ({names}) "
            f"SELECT {values} FROM json_each(:rows)"
        )
    values = ", ".join(
        f"CAST(value ->> {index} AS {column.type.compile()})"
        for index, column in enumerate(table.columns)
    )
    return text(
        f"INSERT INTO {table.name} ({names}) SELECT {values} "
        "FROM json_array_elements(CAST(:rows AS json)) ON CONFLICT DO NOTHING"
    )


_INSERT = Sql(partial(_insert_all, history))
_INSERT_USER = Sql(partial(_insert_all, history_users))
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
        (
            entry.message_id,
            entry.at,
            entry.event,
            json.dumps(entry.detail) if entry.detail else "{}",
        )
        for entry in entries
    ]
    users = [
        (storable(user), entry.at, entry.message_id)
        for entry in entries
        for user in entry.users
    ]
    for sql, values in ((_INSERT, rows), (_INSERT_USER, users)):
        for start in range(0, len(values), _AT_ONCE):
            chunk = json.dumps(values[start : start + _AT_ONCE])
            link.many(sql, [{"rows": chunk}])
    return [None] * len(batch)


ADD = Operation("add history", _add)
