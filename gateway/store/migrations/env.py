"""Alembic's environment: run within the transaction that ``migrate`` began."""

from __future__ import annotations

from alembic import context

from gateway.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The caller's transaction holds the check, the changes and the new version.
    transactional_ddl=False,
    # SQLite changes a column by copying its table.
    render_as_batch=True,
)
context.run_migrations()
