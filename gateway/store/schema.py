"""The tables, one schema for SQLite and PostgreSQL (``docs/semantics.md`` 6).

Rows are portable: times are UTC microseconds in BIGINT, truth is 0 or 1, structures are
JSON texts, content is bytes; no id is a rowid and nothing depends on ever-growing ids.
A change here needs a migration under ``migrations/versions`` and a new ``HEAD``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

HEAD = "0001"
"""The migration that makes this schema."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

subscribers = Table(
    "subscribers",
    metadata,
    Column("aor", Text, primary_key=True),
    Column("user_id", Text, nullable=False, unique=True),
    Column("msisdn", Text, unique=True),
    # Sealed with the key of the state directory: gateway.store.secrets.
    Column("password", Text, nullable=False),
    Column("sip_user", Text, nullable=False),
    Column("sip_password", Text, nullable=False),
    Column("enabled", Integer, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("recipient", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("subject", Text),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    # A digest: an index entry of PostgreSQL holds at most 2704 octets, and the key
    # is made of what strangers send.
    Column("inbound_key", LargeBinary, unique=True),
    Column("delivery_report", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("answer", Integer, nullable=False),
    Column("state", Text),
    Column("reason", Text, nullable=False),
    Column("finished_at", BigInteger),
    # Which write finished it: a repeat of that write is told that it was the first.
    Column("token", Text),
    # Last, so that SQLite reads all else without its overflow pages.
    Column("content", LargeBinary, nullable=False),
)

_waiting = messages.c.state.is_(None)
_finished = messages.c.finished_at.is_not(None)

_to_handset = _waiting & (messages.c.direction == "to_handset")
_to_sip = _waiting & (messages.c.direction == "to_sip")

# All that a quota looks at is in the index; SQLite reads the rows else, even for the
# columns whose value the condition tells.
Index(
    "messages_to_handset",
    messages.c.recipient,
    messages.c.accepted_at,
    messages.c.id,
    messages.c.size,
    messages.c.state,
    messages.c.direction,
    sqlite_where=_to_handset,
    postgresql_where=_to_handset,
)
Index(
    "messages_to_sip",
    messages.c.accepted_at,
    messages.c.id,
    messages.c.state,
    messages.c.direction,
    sqlite_where=_to_sip,
    postgresql_where=_to_sip,
)
Index(
    "messages_expiring",
    messages.c.expires_at,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)
Index(
    "messages_finished",
    messages.c.finished_at,
    sqlite_where=_finished,
    postgresql_where=_finished,
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("aor", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("cookie", Text, nullable=False),
    Column("bearer", Text, nullable=False),
    Column("keep_alive", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("last_activity", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
)
Index("sessions_ended", sessions.c.ended_at)

registrations = Table(
    "registrations",
    metadata,
    Column("aor", Text, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("cseq", BigInteger, nullable=False),
)

history = Table(
    "history",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("detail", Text, nullable=False),
    Index("history_at", "at"),
    sqlite_with_rowid=False,
)

history_users = Table(
    "history_users",
    metadata,
    Column("aor", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Index("history_users_at", "at"),
    sqlite_with_rowid=False,
)
