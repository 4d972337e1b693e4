"""The first schema: subscribers, messages, sessions, registrations, history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "subscribers",
        sa.Column("aor", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("msisdn", sa.Text(), nullable=True),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("sip_user", sa.Text(), nullable=False),
        sa.Column("sip_password", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("aor"),
        sa.UniqueConstraint("msisdn"),
        sa.UniqueConstraint("user_id"),
    )
    _messages()
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("aor", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("cookie", sa.Text(), nullable=False),
        sa.Column("bearer", sa.Text(), nullable=False),
        sa.Column("keep_alive", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("last_activity", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("sessions_ended", "sessions", ["ended_at"])
    op.create_table(
        "registrations",
        sa.Column("aor", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("cseq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("aor"),
    )
    _history()


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("inbound_key", sa.LargeBinary(), nullable=True),
        sa.Column("delivery_report", sa.Integer(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("answer", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("inbound_key"),
    )
    for name, columns, where in (
        (
            "messages_to_handset",
            ["recipient", "accepted_at", "id", "size", "state", "direction"],
            "state IS NULL AND direction = 'to_handset'",
        ),
        (
            "messages_to_sip",
            ["accepted_at", "id", "state", "direction"],
            "state IS NULL AND direction = 'to_sip'",
        ),
        ("messages_expiring", ["expires_at"], "state IS NULL"),
        ("messages_finished", ["finished_at"], "finished_at IS NOT NULL"),
    ):
        condition = sa.text(where)
        op.create_index(
            name,
            "messages",
            columns,
            sqlite_where=condition,
            postgresql_where=condition,
        )


def _history() -> None:
    op.create_table(
        "history",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "at", "event"),
        sqlite_with_rowid=False,
    )
    op.create_index("history_at", "history", ["at"])
    op.create_table(
        "history_users",
        sa.Column("aor", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("aor", "at", "message_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("history_users_at", "history_users", ["at"])


def downgrade() -> None:
    """Remove all tables."""
    for table in (
        "history_users",
        "history",
        "registrations",
        "sessions",
        "messages",
        "subscribers",
        "meta",
    ):
        op.drop_table(table)
