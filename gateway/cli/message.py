"""``imps-gateway message show``: where is my message?"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta

from gateway.cli._store import add_config, opened, resolve
from gateway.errors import Malformed, Unreachable
from gateway.identity import Domains
from gateway.store import HistoryEntry, StoredMessage
from gateway.store.sql import SqlStore

SUMMARY = "show the history of a message, or of a user's messages"
_MOST = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def run(arguments: list[str]) -> int:
    """Run the command; the exit status is 1 when nothing is known."""
    options = _parser().parse_args(arguments)
    try:
        with opened(options.config) as (store, domains):
            ids = [options.id] if options.id else _of(options, store, domains)
            texts = [text for each in ids if (text := _describe(store, each))]
    except (Malformed, Unreachable) as error:
        sys.stderr.write(f"imps-gateway message: {error}\n")
        return 1
    if not texts:
        what = f"no message {options.id}" if options.id else "no message of this user"
        sys.stderr.write(f"imps-gateway message: {what} is known\n")
        return 1
    print("\n\n".join(texts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="imps-gateway message", description=SUMMARY)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    show = commands.add_parser("show", help=SUMMARY, description=SUMMARY)
    add_config(show)
    which = show.add_mutually_exclusive_group(required=True)
    which.add_argument("id", metavar="ID", nargs="?", help="the id of a message")
    which.add_argument("--user", metavar="U", help="wv:alice@example.com, or an AoR")
    show.add_argument(
        "--limit", type=int, default=_MOST, metavar="N", help=f"{_MOST}, the newest"
    )
    return parser


def _of(options: argparse.Namespace, store: SqlStore, domains: Domains) -> list[str]:
    """Find the ids of a user's messages, the newest first."""
    aor = domains.aor(domains.address(options.user))
    ids = resolve(store.messages_of(aor, options.limit))
    waiting = resolve(store.messages(aor, limit=options.limit))
    ids += [each.id for each in reversed(waiting) if each.id not in ids]
    return ids[: options.limit]


def _describe(store: SqlStore, message_id: str) -> str:
    """Write what is known of a message; empty when nothing is."""
    message = resolve(store.message(message_id))
    events = resolve(store.history(message_id))
    if message is None and not events:
        return ""
    lines = [f"message {message_id}"]
    if message is not None:
        lines += _now(message)
    lines += [_event(each) for each in events]
    return "\n".join(lines)


def _now(message: StoredMessage) -> list[str]:
    state: str = message.state or "waiting"
    if message.reason:
        state += f": {message.reason}"
    shown = {
        "from": message.sender,
        "to": message.recipient,
        "accepted": f"{_time(message.accepted_at)}, answered {message.answer}",
        "expires": _time(message.expires_at),
        "state": state,
    }
    return [f"  {name:10}{_plain(value)}" for name, value in shown.items()]


def _event(entry: HistoryEntry) -> str:
    detail = " ".join(f"{name}={value}" for name, value in entry.detail.items())
    return f"  {_time(entry.at)}  {entry.event}  {_plain(detail)}".rstrip()


def _time(microseconds: int) -> str:
    at = _EPOCH + timedelta(microseconds=microseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(text: str) -> str:
    # What strangers wrote must not steer the terminal.
    return "".join(each if each.isprintable() else "\ufffd" for each in text)
