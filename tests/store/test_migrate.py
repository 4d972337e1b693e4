"""The schema's version: made, checked, brought up to date, never guessed."""

from __future__ import annotations

import threading

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from gateway.errors import ConfigError, Unreachable
from gateway.store import migrate
from gateway.store.link import Database
from gateway.store.schema import HEAD, metadata
from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore
from tests.store.doubles import outcome, subscriber


@pytest.fixture
def database(url):
    database = Database(url)
    yield database
    database.engine.dispose()


def execute(database, *statements):
    with database.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_the_migrations_make_the_schema_that_the_statements_use(database):
    assert migrate.version(database) is None
    assert migrate.migrate(database) == (None, HEAD)
    with database.engine.begin() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []


def test_the_last_migration_is_the_head(database):
    migrate.migrate(database)
    assert migrate.version(database) == HEAD
    assert migrate.migrate(database) == (HEAD, HEAD)
    assert HEAD in migrate.known()


def test_the_indexes_are_there_and_no_others(database):
    def names(connection):
        found = connection.execute(text(query)).scalars()
        return {name for name in found if name.startswith(tuple(metadata.tables))}

    query = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    if database.dialect == "postgresql":
        query = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
    migrate.migrate(database)
    with database.engine.begin() as connection:
        found = names(connection)
    described = {
        str(index.name) for table in metadata.tables.values() for index in table.indexes
    }
    assert described <= found
    if database.dialect == "sqlite":
        assert described == found


def test_a_failing_migration_leaves_nothing_behind(database, monkeypatch):
    def upgrade_and_fail(config, revision):
        real(config, revision)
        raise ConfigError("store.url", "in the middle")

    real = command.upgrade
    monkeypatch.setattr(command, "upgrade", upgrade_and_fail)
    with pytest.raises(ConfigError, match="in the middle"):
        migrate.migrate(database)
    monkeypatch.undo()
    assert migrate.version(database) is None
    assert migrate.migrate(database) == (None, HEAD)


def test_two_nodes_may_make_the_schema_at_once(database):
    faults = []

    def start():
        own = Database(str(database.engine.url))
        try:
            migrate.check(own)
        except Exception as error:
            faults.append(error)
        own.engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert migrate.version(database) == HEAD


def test_the_service_does_not_start_on_an_old_schema(database, monkeypatch):
    migrate.migrate(database)
    monkeypatch.setattr(migrate, "HEAD", "0999")
    with pytest.raises(ConfigError, match="run imps-gateway store migrate"):
        migrate.check(database)


def test_nobody_touches_the_schema_of_a_later_release(database):
    migrate.migrate(database)
    execute(database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="later release"):
        migrate.check(database)
    with pytest.raises(ConfigError, match="later release"):
        migrate.migrate(database)
    assert migrate.version(database) == "9999"


def test_nobody_touches_the_tables_of_another_program(database):
    execute(database, "CREATE TABLE theirs (a INTEGER)")
    with pytest.raises(ConfigError, match="another program: theirs"):
        migrate.check(database)


def test_rows_survive_the_check_at_each_start(make, url):
    outcome(make(url).add_subscribers([subscriber()]))
    assert outcome(make(url).counts())["subscribers"] == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("mysql://host/db", "mysql is not supported"),
        ("gateway.db", "this is no URL"),
        ("sqlite:////proc/nowhere/gateway.db", "/proc/nowhere"),
    ],
)
def test_a_url_that_cannot_be_is_a_fault_of_the_configuration(wrong, reason):
    with pytest.raises(ConfigError, match=rf"store\.url: .*{reason}"):
        outcome(SqlStore(wrong, None, Secrets(b"k" * 32), lambda: 0).open())


def test_a_server_that_is_away_is_unreachable():
    store = SqlStore("postgresql://u:hush@127.0.0.1:1/x", None, Secrets(b"k" * 32), int)
    with pytest.raises(Unreachable) as caught:
        outcome(store.open())
    assert "hush" not in str(caught.value)
