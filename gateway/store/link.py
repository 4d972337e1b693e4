"""One connection to the database, spoken to at the driver's level.

The statements are SQLAlchemy Core, compiled once for a dialect; executing them at the
driver keeps a write at a few microseconds. ``SqliteLink`` and ``PostgresLink`` differ
in what they do at connection and in how a result for each of many rows is had.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.sql import ClauseElement

from gateway.errors import ConfigError

Params = Mapping[str, Any]
Row = tuple[Any, ...]
Insert = Callable[..., Any]
"""The ``insert`` of a dialect; SQLite's and PostgreSQL's have one interface."""

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process's write (semantics 6)."""

# The primary result codes of SQLite that say "not now" or "not any more", not "wrong":
# BUSY LOCKED NOMEM READONLY IOERR CORRUPT FULL CANTOPEN PROTOCOL NOTADB.
_SQLITE_UNAVAILABLE = frozenset({5, 6, 7, 8, 10, 11, 13, 14, 15, 26})
_SQLITE_BUSY = frozenset({5, 6})


class Sql:
    """A statement with named parameters, compiled on first use for each dialect."""

    __slots__ = ("_compiled", "build")

    def __init__(self, build: Callable[[Insert], ClauseElement]) -> None:
        self.build = build
        self._compiled: dict[str, tuple[str, Callable[[Params], Any]]] = {}

    def text(self, dialect: str) -> tuple[str, Callable[[Params], Any]]:
        """Return the statement for a driver and what arranges its parameters."""
        try:
            return self._compiled[dialect]
        except KeyError:
            pass
        module = sqlite if dialect == "sqlite" else postgresql
        which = sqlite.dialect if dialect == "sqlite" else postgresql.psycopg.dialect
        compiled: Any = self.build(module.insert).compile(dialect=which())
        # What the statement itself gives a value: constants, a dialect's OFFSET 0.
        constants = {
            name: value for name, value in compiled.params.items() if value is not None
        }
        arrange = _arrange(compiled.positiontup, constants)
        self._compiled[dialect] = str(compiled), arrange
        return self._compiled[dialect]


def _arrange(
    names: Sequence[str] | None, constants: dict[str, Any]
) -> Callable[[Params], Any]:
    """Return what makes the driver's parameters: named ones, or those positions."""
    if names is None:
        return lambda params: {**constants, **params} if constants else params
    if constants or len(names) < 2:
        return lambda params: tuple(
            [params[name] if name in params else constants[name] for name in names]
        )
    return itemgetter(*names)


class Link:
    """One connection; the base of the two databases' own."""

    dialect: str

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursor = connection.cursor()

    def begin(self) -> None:
        """Begin a transaction that is going to write."""

    def commit(self) -> None:
        """Commit; whether it was is unknown when this raises."""
        self._connection.commit()

    def rollback(self) -> None:
        """Undo what was done since ``begin``."""
        self._connection.rollback()

    def close(self) -> None:
        """Let the connection go, whatever state it is in."""
        try:
            self._connection.close()
        except (sqlite3.Error, psycopg.Error):
            pass

    def rows(self, sql: Sql, params: Params) -> list[Row]:
        """Run one statement and return all its rows."""
        text, arrange = sql.text(self.dialect)
        self._cursor.execute(text, arrange(params))
        return self._cursor.fetchall()  # type: ignore[no-any-return]

    def many(self, sql: Sql, params: Iterable[Params]) -> None:
        """Run one statement for many parameters, whose rows nobody asks for."""
        text, arrange = sql.text(self.dialect)
        self._cursor.executemany(text, [arrange(each) for each in params])

    def each(self, sql: Sql, params: Sequence[Params]) -> list[list[Row]]:
        """Run one statement for many parameters and return the rows of each."""
        raise NotImplementedError

    def lock(self, keys: Iterable[int]) -> None:
        """Keep other writers away from what the keys stand for until the commit."""

    def settings(self) -> dict[str, str]:
        """Read back what durability rests on, from this very connection."""
        raise NotImplementedError


class SqliteLink(Link):
    """A connection to a SQLite file."""

    dialect = "sqlite"

    def begin(self) -> None:
        # At once the write lock: a transaction that reads first and writes later
        # could fail half-way, and no waiting would help it.
        self._cursor.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        # Closed in the middle of a transaction it would keep the lock until the
        # collector comes by.
        try:
            self._connection.rollback()
        except sqlite3.Error:
            pass
        super().close()

    def each(self, sql: Sql, params: Sequence[Params]) -> list[list[Row]]:
        text, arrange = sql.text("sqlite")
        execute = self._cursor.execute
        return [execute(text, arrange(each)).fetchall() for each in params]

    def settings(self) -> dict[str, str]:
        names = ("journal_mode", "synchronous", "busy_timeout")
        execute = self._cursor.execute
        return {name: str(execute(f"PRAGMA {name}").fetchone()[0]) for name in names}


class PostgresLink(Link):
    """A connection to PostgreSQL by psycopg 3; its transactions begin by themselves."""

    dialect = "postgresql"

    def each(self, sql: Sql, params: Sequence[Params]) -> list[list[Row]]:
        if len(params) == 1:
            return [self.rows(sql, params[0])]
        text, arrange = sql.text("postgresql")
        cursor = self._cursor
        cursor.executemany(text, [arrange(each) for each in params], returning=True)
        found = [cursor.fetchall()]
        while cursor.nextset():
            found.append(cursor.fetchall())
        return found

    def lock(self, keys: Iterable[int]) -> None:
        # In one order everywhere, so that two nodes never wait for each other.
        self._cursor.executemany(
            "SELECT pg_advisory_xact_lock(%s::bigint)",
            [(key,) for key in sorted(set(keys))],
        )

    def settings(self) -> dict[str, str]:
        execute = self._cursor.execute
        return {
            name: execute(f"SHOW {name}").fetchone()[0]
            for name in ("synchronous_commit", "fsync", "lock_timeout")
        }


class Database:
    """Where the store lives: an engine that makes links.

    ``url`` is an SQLAlchemy URL of SQLite or PostgreSQL; ``ConfigError`` on any other.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ConfigError(
                "store.url", "this is no URL; sqlite:///FILE or postgresql://…"
            ) from None
        self.dialect = parsed.get_backend_name()
        self._held: object = None
        if self.dialect == "sqlite":
            self.memory = parsed.database in (None, "", ":memory:")
            self.engine = _sqlite_engine(url, self.memory)
        elif self.dialect == "postgresql":
            self.memory = False
            self.engine = _postgres_engine(url)
        else:
            raise ConfigError(
                "store.url",
                f"{self.dialect} is not supported; sqlite:///FILE or postgresql://…",
            )

    def make_file(self) -> None:
        """Make a SQLite file (0600) and its directory; raises ``ConfigError``."""
        url = self.engine.url
        if self.dialect != "sqlite" or self.memory or url.query:
            return
        path = Path(url.database or "")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite gives the files beside it the same mode: they hold what people
            # write to each other.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise ConfigError("store.url", f"{error.strerror}: {path}") from None

    def link(self, *, write: bool) -> Link:
        """Open a connection; raises the driver's error when that fails."""
        try:
            pooled = self.engine.raw_connection()
        except Exception as error:
            raise original(error) from None
        connection: Any = pooled.driver_connection
        if self.memory:
            # All links are the one connection; given back, it would be reset.
            self._held = pooled
        else:
            pooled.detach()
        if self.dialect == "sqlite":
            return SqliteLink(connection)
        connection.autocommit = not write
        return PostgresLink(connection)


def _sqlite_engine(url: str, memory: bool) -> Engine:
    engine = create_engine(
        url,
        poolclass=StaticPool if memory else NullPool,
        connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        # Transactions are begun by us, so that they are IMMEDIATE and hold DDL too.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgres_engine(url: str) -> Engine:
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        connect_args={
            "connect_timeout": 5,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15000,
            "application_name": "imps-gateway",
        },
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.autocommit = True
        connection.execute("SET synchronous_commit TO on")
        connection.execute(f"SET lock_timeout TO {int(BUSY_TIMEOUT * 1000)}")
        connection.autocommit = False

    return engine


def original(error: BaseException) -> BaseException:
    """Return the driver's error from within SQLAlchemy's."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, BaseException) else error


def unavailable(error: BaseException) -> bool:
    """Tell whether the database is to blame, not the statement."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _SQLITE_UNAVAILABLE
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return True
    return isinstance(
        error, psycopg.OperationalError | psycopg.InterfaceError
    ) and not transient(error)


def busy(error: BaseException) -> bool:
    """Tell whether the wait for another process's lock was in vain."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _SQLITE_BUSY
    return isinstance(error, psycopg.errors.LockNotAvailable)


def transient(error: BaseException) -> bool:
    """Tell whether the very same transaction may well succeed when tried again."""
    return isinstance(
        error,
        psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure,
    )
