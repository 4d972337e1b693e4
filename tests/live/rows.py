"""What stands in the gateway's store, read past the gateway."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg

from tests.live.gateway import GatewayService
from tests.live.ledger import Row

_QUERY = "SELECT id, direction, recipient, state, reason, finished_at FROM messages"


def waiting(gateway: GatewayService) -> int:
    """Count the messages without an end, while the service runs."""
    query = "SELECT count(*) FROM messages WHERE state IS NULL"
    if gateway.store.startswith("postgresql"):
        with psycopg.connect(gateway.store) as connection:
            row = connection.execute(query).fetchone()
            assert row is not None
            return int(row[0])
    file = gateway.config.parent / "state" / "gateway.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as opened:
        return int(opened.execute(query).fetchone()[0])


def read(gateway: GatewayService, copy: Path) -> dict[str, Row]:
    """Read every message of a store.

    Of a SQLite file a copy is read, made below ``copy``: what a crash left behind is
    for the service itself to put in order. So it has to be dead, or idle.
    """
    if gateway.store.startswith("postgresql"):
        with psycopg.connect(gateway.store) as connection:
            found = connection.execute(_QUERY).fetchall()
    else:
        copy.mkdir(exist_ok=True)
        original = gateway.config.parent / "state" / "gateway.db"
        for suffix in ("", "-wal"):
            (copy / f"gateway.db{suffix}").unlink(missing_ok=True)
            if (source := Path(f"{original}{suffix}")).exists():
                shutil.copy(source, copy / source.name)
        with closing(sqlite3.connect(copy / "gateway.db")) as opened:
            found = opened.execute(_QUERY).fetchall()
    return {number: Row(*rest) for number, *rest in found}
