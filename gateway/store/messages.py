"""Statements and operations on messages: quota, repeats, the one final state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from gateway.store import (
    Added,
    Addition,
    Duplicate,
    FinalState,
    Full,
    Limits,
    StoredMessage,
)
from gateway.store.link import Insert, Link, Params, Row, Sql
from gateway.store.schema import messages
from gateway.store.writer import Operation

_m = messages.c
_COLUMNS = [column for column in messages.columns]
_READ = (
    _m.id,
    _m.recipient,
    _m.direction,
    _m.sender,
    _m.subject,
    _m.content_type,
    _m.sent_at,
    _m.accepted_at,
    _m.expires_at,
    _m.delivery_report,
    _m.headers,
    _m.answer,
    _m.state,
    _m.reason,
    _m.content,
)
_WAITING = _m.state.is_(None)
_TO_HANDSET = _m.direction == literal_column("'to_handset'")
_TO_SIP = _m.direction == literal_column("'to_sip'")


def _bind(column: Any) -> ColumnElement[Any]:
    return bindparam(column.name, type_=column.type)


def _insert(insert: Insert) -> Any:
    return insert(messages).on_conflict_do_nothing().returning(_m.id)


def _insert_within(insert: Insert) -> Any:
    # What waits for the recipient is counted in the very statement that adds to it.
    box = (
        select(
            func.count().label("number"),
            func.coalesce(func.sum(_m.size), literal_column("0")).label("total"),
        )
        .where(_m.recipient == bindparam("recipient"), _WAITING, _TO_HANDSET)
        .subquery("box")
    )
    row = select(*(_bind(column) for column in _COLUMNS)).where(
        box.c.number < bindparam("max_messages", type_=_m.size.type),
        box.c.total + _bind(_m.size) <= bindparam("max_bytes", type_=_m.size.type),
    )
    into = insert(messages).from_select([column.name for column in _COLUMNS], row)
    return into.on_conflict_do_nothing().returning(_m.id)


_INSERT = Sql(_insert)
_INSERT_WITHIN = Sql(_insert_within)
_KNOWN = Sql(
    lambda _: select(_m.id, _m.answer).where(
        or_(_m.id == bindparam("id"), _m.inbound_key == bindparam("inbound_key"))
    )
)
_FINISH = Sql(
    lambda _: (
        update(messages)
        .where(
            _m.id == bindparam("id_"),
            or_(_WAITING, _m.token == bindparam("token_")),
        )
        .values(
            state=bindparam("state"),
            reason=bindparam("reason"),
            finished_at=bindparam("finished_at"),
            token=bindparam("token"),
            content=bindparam("content"),
            headers=bindparam("headers"),
        )
        .returning(_m.id)
    )
)
ONE = Sql(lambda _: select(*_READ).where(_m.id == bindparam("id")))


def _in_order(*where: ColumnElement[bool]) -> Any:
    after = tuple_(_m.accepted_at, _m.id) > tuple_(
        bindparam("after_at", type_=_m.accepted_at.type),
        bindparam("after_id", type_=_m.id.type),
    )
    return (
        select(*_READ)
        .where(*where, _WAITING, after)
        .order_by(_m.accepted_at, _m.id)
        .limit(bindparam("limit"))
    )


OF_HANDSET = Sql(
    lambda _: _in_order(_TO_HANDSET, _m.recipient == bindparam("recipient"))
)
OF_SIP = Sql(lambda _: _in_order(_TO_SIP))
EXPIRED = Sql(
    lambda _: (
        select(*_READ)
        .where(_WAITING, _TO_HANDSET, _m.expires_at <= bindparam("now"))
        .order_by(_m.expires_at)
        .limit(bindparam("limit"))
    )
)


def storable(text: str) -> str:
    """Replace what a database text cannot hold: NUL and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean.replace("\0", "\N{REPLACEMENT CHARACTER}")


def digest(inbound_key: str) -> bytes:
    """Return what stands for an inbound key in the table."""
    return hashlib.blake2b(
        inbound_key.encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()


def to_row(message: StoredMessage) -> dict[str, Any]:
    """Make the row of a message that waits."""
    key, subject = message.inbound_key, message.subject
    return {
        "id": message.id,
        "recipient": message.recipient,
        "direction": message.direction,
        "sender": storable(message.sender),
        "subject": None if subject is None else storable(subject),
        "content_type": storable(message.content_type),
        "size": len(message.content),
        "sent_at": message.sent_at,
        "accepted_at": message.accepted_at,
        "expires_at": message.expires_at,
        "inbound_key": None if key is None else digest(key),
        "delivery_report": int(message.delivery_report),
        "headers": json.dumps(message.headers) if message.headers else "{}",
        "answer": message.answer,
        "state": None,
        "reason": "",
        "finished_at": None,
        "token": None,
        "content": message.content,
    }


def to_row_within(message: StoredMessage, limits: Limits) -> dict[str, Any]:
    """Make the parameters of an addition under a quota."""
    row = to_row(message)
    row["max_messages"] = limits.max_messages
    row["max_bytes"] = limits.max_bytes
    return row


def from_row(row: Row) -> StoredMessage:
    """Read a row of ``_READ``. The inbound key is not kept in clear."""
    headers = row[10]
    return StoredMessage(
        id=row[0],
        recipient=row[1],
        direction=row[2],
        sender=row[3],
        subject=row[4],
        content_type=row[5],
        sent_at=row[6],
        accepted_at=row[7],
        expires_at=row[8],
        delivery_report=bool(row[9]),
        headers={} if headers == "{}" else json.loads(headers),
        answer=row[11],
        state=row[12],
        reason=row[13],
        content=bytes(row[14]),
    )


def after_params(after: tuple[int, str] | None, limit: int) -> dict[str, Any]:
    """Make the parameters of a page."""
    at, message_id = after or (-(2**62), "")
    return {"after_at": at, "after_id": message_id, "limit": limit}


_ADDED = Added()


def _add(link: Link, batch: Sequence[Params]) -> list[Addition]:
    return [
        _ADDED if rows else _why_not(link, params)
        for params, rows in zip(batch, link.each(_INSERT, batch), strict=True)
    ]


def _add_within(link: Link, batch: Sequence[Params]) -> list[Addition]:
    # Another node must not count the same mailbox meanwhile.
    link.lock(_number(params["recipient"]) for params in batch)
    return [
        _ADDED if rows else _why_not(link, params)
        for params, rows in zip(batch, link.each(_INSERT_WITHIN, batch), strict=True)
    ]


def _why_not(link: Link, params: Params) -> Addition:
    """Say why a message was not inserted: a repeat is no matter of the quota."""
    known = {row[0]: cast(int, row[1]) for row in link.rows(_KNOWN, params)}
    if params["id"] in known:
        return _ADDED
    for message_id, answer in known.items():
        return Duplicate(answer, message_id)
    return Full()


def _number(recipient: str) -> int:
    value = hashlib.blake2b(recipient.encode(), digest_size=8).digest()
    return int.from_bytes(value, "big", signed=True)


def _finish(link: Link, batch: Sequence[Params]) -> list[bool]:
    return [bool(rows) for rows in link.each(_FINISH, batch)]


def _finish_all(link: Link, batch: Sequence[Sequence[Params]]) -> list[list[bool]]:
    return [_finish(link, params) for params in batch]


def to_finish(
    message_id: str, state: FinalState, reason: str, now: int, token: str
) -> dict[str, Any]:
    """Make the parameters of a final state."""
    return {
        "id_": storable(message_id),
        "token_": token,
        "state": state,
        "reason": storable(reason),
        "finished_at": now,
        "token": token,
        "content": b"",
        "headers": "{}",
    }


ADD = Operation("add message", _add)
ADD_WITHIN = Operation("add message within limits", _add_within)
FINISH = Operation("finish message", _finish)
FINISH_ALL = Operation("finish messages", _finish_all)
