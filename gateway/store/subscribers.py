"""Statements and operations on subscribers: all or nothing, clashes named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, delete, func, literal_column, select

from gateway.errors import Refused
from gateway.store import Clash, Subscriber
from gateway.store.link import Insert, Link, Params, Row, Sql
from gateway.store.schema import meta, registrations, subscribers
from gateway.store.secrets import Secrets
from gateway.store.writer import Operation

_c = subscribers.c
_COLUMNS = [column for column in subscribers.columns]
KEYS: tuple[Literal["aor", "user_id", "msisdn"], ...] = ("aor", "user_id", "msisdn")
# From so many on, reading all keys is cheaper than looking up each.
_MANY = 500
_REVISION_NAME = "subscriber_revision"

BY_AOR = Sql(lambda _: select(*_COLUMNS).where(_c.aor == bindparam("aor")))
BY_USER = Sql(lambda _: select(*_COLUMNS).where(_c.user_id == bindparam("user_id")))
BY_MSISDN = Sql(lambda _: select(*_COLUMNS).where(_c.msisdn == bindparam("msisdn")))
PAGE = Sql(
    lambda _: (
        select(*_COLUMNS)
        .where(_c.aor > bindparam("after"))
        .order_by(_c.aor)
        .limit(bindparam("limit"))
    )
)
REVISION = Sql(lambda _: select(meta.c.value).where(meta.c.name == bindparam("name")))
REVISION_PARAMS = {"name": _REVISION_NAME}

_ALL_KEYS = Sql(lambda _: select(_c.aor, _c.user_id, _c.msisdn, _c.password))
_KEYS_LIKE = Sql(
    lambda _: select(_c.aor, _c.user_id, _c.msisdn, _c.password).where(
        (_c.aor == bindparam("aor"))
        | (_c.user_id == bindparam("user_id"))
        | (_c.msisdn == bindparam("msisdn"))
    )
)
_COUNT = Sql(lambda _: select(func.count()).select_from(subscribers))
_INSERT = Sql(lambda insert: insert(subscribers))
_DELETE = Sql(lambda _: delete(subscribers).where(_c.aor == bindparam("aor")))
_REMOVE = Sql(
    lambda _: delete(subscribers).where(_c.aor == bindparam("aor")).returning(_c.aor)
)
_FORGET_REGISTRATION = Sql(
    lambda _: delete(registrations).where(registrations.c.aor == bindparam("aor"))
)


def _raise_revision_sql(insert: Insert) -> Any:
    return insert(meta).on_conflict_do_update(
        index_elements=[meta.c.name], set_={"value": meta.c.value + literal_column("1")}
    )


_RAISE_REVISION = Sql(_raise_revision_sql)


@dataclass(frozen=True, slots=True)
class Addition:
    """What ``ADD`` takes: rows made beforehand, so that the transaction is short."""

    rows: list[dict[str, Any]]
    replace: bool
    most: int
    """The table's limit; beyond it nothing is added (``Refused`` 507)."""


def to_row(subscriber: Subscriber, secrets: Secrets) -> dict[str, Any]:
    """Make the row of a subscriber, his passwords sealed."""
    aor = subscriber.aor
    return {
        "aor": aor,
        "user_id": subscriber.user_id,
        "msisdn": subscriber.msisdn,
        "password": secrets.seal(subscriber.password, f"csp {aor}"),
        "sip_user": subscriber.sip_user,
        "sip_password": secrets.seal(subscriber.sip_password, f"sip {aor}"),
        "enabled": int(subscriber.enabled),
    }


def keys(subscriber: Subscriber) -> dict[str, Any]:
    """Return what may clash of a subscriber."""
    return {name: getattr(subscriber, name) for name in KEYS}


def from_row(row: Row, secrets: Secrets) -> Subscriber:
    """Read a row of all columns; ``ConfigError`` when it cannot be unsealed."""
    aor = row[0]
    return Subscriber(
        aor=aor,
        user_id=row[1],
        msisdn=row[2],
        password=secrets.unseal(row[3], f"csp {aor}"),
        sip_user=row[4],
        sip_password=secrets.unseal(row[5], f"sip {aor}"),
        enabled=bool(row[6]),
    )


def clashes(
    rows: Sequence[Params], present: Iterable[Row], replace: bool
) -> list[Clash]:
    """Name every value that two subscribers would share.

    ``present`` begins with (aor, user_id, msisdn) of each that is in the table.
    """
    replaced = {row["aor"] for row in rows} if replace else frozenset()
    kept = [keys for keys in present if keys[0] not in replaced]
    found: list[Clash] = []
    for place, name in enumerate(KEYS):
        taken = {keys[place] for keys in kept}
        for index, row in enumerate(rows):
            value = row[name]
            if value is None:
                continue
            if value in taken:
                found.append(Clash(index=index, field=name, value=value))
            taken.add(value)
    return sorted(found, key=lambda clash: clash.index)


def _add(link: Link, batch: Sequence[Addition]) -> list[list[Clash]]:
    return [_add_all(link, addition) for addition in batch]


def would_clash(rows: Sequence[Params], replace: bool, link: Link) -> list[Clash]:
    """Name the clashes of new rows, of which only the keys are needed."""
    return clashes(rows, _present(link, rows), replace)


def _present(link: Link, rows: Sequence[Params]) -> list[Row]:
    if len(rows) < _MANY:
        return [row for found in link.each(_KEYS_LIKE, rows) for row in found]
    return link.rows(_ALL_KEYS, {})


def _add_all(link: Link, addition: Addition) -> list[Clash]:
    rows, replace = addition.rows, addition.replace
    if not rows:
        return []
    present = _present(link, rows)
    # Sealing takes a fresh nonce: an equal sealed text is the very same write, done
    # before a commit whose answer was lost.
    if {row[3] for row in present}.issuperset(row["password"] for row in rows):
        return []
    found = clashes(rows, present, replace)
    if found:
        return found
    if replace:
        link.many(_DELETE, rows)
    if link.rows(_COUNT, {})[0][0] + len(rows) > addition.most:
        raise Refused(507, f"no more than {addition.most} subscribers are kept")
    link.many(_INSERT, rows)
    _raise_revision(link)
    return []


def _remove(link: Link, batch: Sequence[Params]) -> list[bool]:
    gone = [bool(rows) for rows in link.each(_REMOVE, batch)]
    link.many(_FORGET_REGISTRATION, batch)
    if any(gone):
        _raise_revision(link)
    return gone


def _raise_revision(link: Link) -> None:
    link.many(_RAISE_REVISION, [{"name": _REVISION_NAME, "value": 1}])


ADD = Operation("add subscribers", _add)
REMOVE = Operation("remove subscriber", _remove)
