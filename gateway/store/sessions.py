"""Statements and operations on CSP sessions and on SIP registrations.

Every write to a session is conditional on its epoch, so that a node whose session was
claimed by another one notices with its next write (``docs/semantics.md`` 5).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, literal_column, or_, select, update

from gateway.store import Registration, SessionRecord
from gateway.store.link import Insert, Link, Params, Row, Sql
from gateway.store.messages import storable
from gateway.store.schema import registrations, sessions
from gateway.store.writer import Operation

_s = sessions.c
_r = registrations.c
_COLUMNS = [column for column in sessions.columns]
_ONE = literal_column("1", _s.epoch.type)


def _save(insert: Insert) -> Any:
    into = insert(sessions)
    changed = {
        column.name: into.excluded[column.name]
        for column in _COLUMNS
        if column.name not in ("id", "epoch")
    }
    return into.on_conflict_do_update(
        index_elements=[_s.id],
        set_=changed,
        where=_s.epoch == into.excluded.epoch,
    ).returning(_s.id)


_SAVE = Sql(_save)
_OWN = (_s.id == bindparam("id_"), _s.epoch == bindparam("epoch_"))
_TOUCH = Sql(
    lambda _: (
        update(sessions)
        .where(*_OWN)
        .values(last_activity=bindparam("last_activity"))
        .returning(_s.id)
    )
)
_END = Sql(
    lambda _: (
        update(sessions)
        .where(*_OWN)
        .values(ended_at=bindparam("ended_at"))
        .returning(_s.id)
    )
)
_CLAIM = Sql(
    lambda _: (
        update(sessions)
        .where(_s.id == bindparam("id_"))
        .values(owner=bindparam("owner"), epoch=_s.epoch + _ONE)
        .returning(*_COLUMNS)
    )
)
ONE = Sql(lambda _: select(*_COLUMNS).where(_s.id == bindparam("id")))
OPEN = Sql(
    lambda _: (
        select(*_COLUMNS)
        .where(
            _s.ended_at.is_(None),
            or_(
                bindparam("all", type_=_s.version.type) == _ONE,
                _s.owner == bindparam("owner"),
            ),
        )
        .order_by(_s.id)
    )
)

_KEEP = Sql(lambda insert: insert(registrations).on_conflict_do_nothing())
_KEPT = Sql(lambda _: select(*registrations.columns).where(_r.aor == bindparam("aor")))


def _save_registration_sql(insert: Insert) -> Any:
    into = insert(registrations)
    return into.on_conflict_do_update(
        index_elements=[_r.aor],
        set_={name: into.excluded[name] for name in ("instance", "call_id", "cseq")},
    )


_SAVE_REGISTRATION = Sql(_save_registration_sql)


def to_row(record: SessionRecord) -> dict[str, Any]:
    """Make the row of a session."""
    return {
        "id": record.id,
        "aor": record.aor,
        "client_id": storable(record.client_id),
        "version": record.version,
        "cookie": record.cookie,
        "bearer": record.bearer,
        "keep_alive": record.keep_alive,
        "state": json.dumps(record.state),
        "last_activity": record.last_activity,
        "ended_at": record.ended_at,
        "owner": record.owner,
        "epoch": record.epoch,
    }


def from_row(row: Row) -> SessionRecord:
    """Read a row of all columns, in their order."""
    return SessionRecord(
        id=row[0],
        aor=row[1],
        client_id=row[2],
        version=row[3],
        cookie=row[4],
        bearer=row[5],
        keep_alive=row[6],
        state=json.loads(row[7]),
        last_activity=row[8],
        ended_at=row[9],
        owner=row[10],
        epoch=row[11],
    )


def _conditional(sql: Sql) -> Any:
    def run(link: Link, batch: Sequence[Params]) -> list[bool]:
        return [bool(rows) for rows in link.each(sql, batch)]

    return run


def _claim(link: Link, batch: Sequence[Params]) -> list[SessionRecord | None]:
    # A repeat after a commit without an answer raises the epoch twice: no harm, for
    # what counts is that it is higher than every other node's.
    return [from_row(rows[0]) if rows else None for rows in link.each(_CLAIM, batch)]


def _register(link: Link, batch: Sequence[Registration]) -> list[Registration]:
    link.many(_KEEP, [asdict(new) for new in batch])
    found = link.each(_KEPT, [{"aor": new.aor} for new in batch])
    return [
        Registration(aor=row[0], instance=row[1], call_id=row[2], cseq=row[3])
        for [row] in found
    ]


def _save_registrations(link: Link, batch: Sequence[Registration]) -> list[None]:
    link.many(_SAVE_REGISTRATION, [asdict(registration) for registration in batch])
    return [None] * len(batch)


SAVE = Operation("save session", _conditional(_SAVE))
TOUCH = Operation("touch session", _conditional(_TOUCH))
END = Operation("end session", _conditional(_END))
CLAIM = Operation("claim session", _claim)
REGISTER = Operation("make registration", _register)
SAVE_REGISTRATION = Operation("save registration", _save_registrations)
