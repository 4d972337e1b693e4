"""The schema's version: made for an empty store, checked at start, brought up to date.

``imps-gateway store migrate`` calls ``migrate``; the service itself only makes the
schema of an empty store, and refuses any other but its own.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from gateway.errors import ConfigError, Unreachable
from gateway.store.link import Database, original, unavailable
from gateway.store.schema import HEAD

_MIGRATIONS = Path(__file__).with_name("migrations")
# Any number, the same for all nodes: who migrates PostgreSQL holds this lock.
_LOCK = 0x494D5053


def version(database: Database) -> str | None:
    """Return the schema's version, ``None`` for an empty store.

    Raises ``Unreachable``, or ``ConfigError`` when foreign tables are there.
    """
    try:
        with database.engine.begin() as connection:
            return _version(connection)
    except DBAPIError as error:
        raise _unreachable(error) from None


def check(database: Database) -> None:
    """Make the schema of an empty store; raise ``ConfigError`` on an old or new one."""
    found = version(database)
    if found is None:
        found = migrate(database)[1]
    if found == HEAD:
        return
    if found in known():
        raise ConfigError(
            "store.url",
            f"its schema is {found} and this release needs {HEAD}: "
            "run imps-gateway store migrate",
        )
    raise ConfigError(
        "store.url",
        f"its schema {found} is of a later release; this one knows {HEAD}",
    )


def migrate(database: Database) -> tuple[str | None, str]:
    """Bring the schema up to date; return the versions before and after."""
    config = _config()
    try:
        with database.engine.begin() as connection:
            if database.dialect == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            # Only now: another node may have been faster.
            before = _version(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return before, HEAD
    except DBAPIError as error:
        raise _unreachable(error) from None
    except CommandError:
        raise ConfigError(
            "store.url", "its schema is of a later release; nothing was changed"
        ) from None


def known() -> set[str]:
    """Return the versions that this release can migrate from, and its own."""
    scripts = ScriptDirectory.from_config(_config())
    return {script.revision for script in scripts.walk_revisions()}


def _config() -> AlembicConfig:
    config = AlembicConfig()
    # Alembic reads % as interpolation.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _version(connection: Connection) -> str | None:
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None and (tables := inspect(connection).get_table_names()):
        raise ConfigError(
            "store.url", f"the database holds tables of another program: {tables[0]}"
        )
    return found


def _unreachable(error: DBAPIError) -> Exception:
    cause = original(error)
    return Unreachable(f"the store is down: {cause}") if unavailable(cause) else error
