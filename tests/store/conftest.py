"""Stores to test, on SQLite and on a real PostgreSQL that all these tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore
from gateway.store.upkeep import Bounds
from tests.live.programs import PostgreSql
from tests.store.doubles import ThreadedClock, outcome

KEY = b"k" * 32


class Now:
    """A clock in microseconds that the test sets."""

    def __init__(self) -> None:
        self.us = 1_000

    def __call__(self) -> int:
        return self.us


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSql]:
    """Start PostgreSQL when the first test asks for it."""
    program = PostgreSql(tmp_path_factory.mktemp("store") / "postgres.log")
    try:
        program.start()
        yield program
    finally:
        program.end()


@pytest.fixture
def postgres_url(server: PostgreSql) -> str:
    """Name an empty database of PostgreSQL."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SET client_min_messages TO error")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server.url


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.component("postgresql")),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/gateway.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def now() -> Now:
    """Give the time of the stores."""
    return Now()


@pytest.fixture
def make(now: Now) -> Iterator[Callable[..., SqlStore]]:
    """Open stores that do all at once; they are closed with the test."""
    stores: list[SqlStore] = []

    def opened(url: str, bounds: Bounds | None = None) -> SqlStore:
        store = SqlStore(url, None, Secrets(KEY), now, bounds)
        outcome(store.open())
        stores.append(store)
        return store

    yield opened
    for store in stores:
        outcome(store.close())


@pytest.fixture
def store(make: Callable[..., SqlStore], url: str) -> SqlStore:
    """Open an empty store that does all at once."""
    return make(url)


@pytest.fixture
def clock() -> ThreadedClock:
    """Make the reactor's side of threads."""
    return ThreadedClock()


@pytest.fixture
def threaded(url: str, now: Now, clock: ThreadedClock) -> Iterator[SqlStore]:
    """Open an empty store with its threads."""
    store = SqlStore(url, clock, Secrets(KEY), now)
    clock.wait(store.open())
    yield store
    clock.wait(store.close())
