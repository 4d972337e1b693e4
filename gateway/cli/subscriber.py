"""``imps-gateway subscriber …``: who is served, for the operator.

The running service notices each change by itself (``Store.subscriber_revision``).
Passwords are taken and exported, but never shown, nor part of a fault.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.cli import _subscriber_csv as sheets
from gateway.cli._store import add_config, opened, resolve
from gateway.errors import Malformed, Refused, Unreachable
from gateway.identity import Domains
from gateway.store import Subscriber
from gateway.store.sql import SqlStore

SUMMARY = "add, change, list, remove, import and export subscribers"
_PAGE = 1000


class _Fault(Exception):
    """What is wrong, for standard error; the exit status is 1."""


def run(arguments: list[str]) -> int:
    """Run the command; the exit status is 1 when it was not done, and says why."""
    options = _parser().parse_args(arguments)
    try:
        _take_passwords(options)
        with opened(options.config) as (store, domains):
            status: int = options.action(options, store, domains)
            return status
    except (Malformed, Unreachable, Refused, _Fault) as error:
        sys.stderr.write(f"imps-gateway subscriber: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imps-gateway subscriber",
        description=SUMMARY,
        epilog="USER is an IMPS address (wv:alice@example.com), an AoR "
        "(sip:alice@example.com) or a number (+358401234567); a password - is read "
        "from standard input.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, action: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        add_config(added)
        added.set_defaults(action=action)
        return added

    added = command("add", _add, "add a subscriber")
    added.add_argument("--user-id", required=True, metavar="wv:alice@example.com")
    _add_fields(added, needed=True)
    changed = command("set", _set, "change what is given of a subscriber")
    changed.add_argument("user", metavar="USER")
    _add_fields(changed, needed=False)
    for name, action, text in (
        ("show", _show, "show a subscriber"),
        ("remove", _remove, "remove a subscriber"),
    ):
        command(name, action, text).add_argument("user", metavar="USER")
    command("list", _list, "list all subscribers")
    imported = command("import", _import, "add the subscribers of a CSV file, or none")
    imported.add_argument("file", metavar="CSV", help="the file; - is standard input")
    imported.add_argument("--dry-run", action="store_true", help="only check")
    imported.add_argument(
        "--replace", action="store_true", help="one that exists already is replaced"
    )
    exported = command("export", _export, "write all subscribers as CSV")
    exported.add_argument("file", metavar="CSV", nargs="?", default="-")
    return parser


def _add_fields(parser: argparse.ArgumentParser, *, needed: bool) -> None:
    parser.add_argument("--password", required=needed, metavar="P")
    if needed:
        parser.add_argument("--aor", metavar="sip:alice@example.com")
    parser.add_argument("--sip-user", metavar="U", help="Digest user name at the core")
    parser.add_argument("--sip-password", metavar="P")
    parser.add_argument("--msisdn", metavar="+358401234567", help="empty: none")
    parser.add_argument("--enabled", choices=("yes", "no"), default=None)


def _take_passwords(options: argparse.Namespace) -> None:
    """Read each password that was given as ``-`` from standard input, in this order."""
    for name in ("password", "sip_password"):
        if getattr(options, name, None) != "-":
            continue
        if sys.stdin.isatty():
            text = getpass.getpass(f"{name.replace('_', ' ')}: ")
        else:
            text = sys.stdin.readline().rstrip("\r\n")
        setattr(options, name, text)


def _find(store: SqlStore, domains: Domains, user: str) -> Subscriber:
    scheme = user.partition(":")[0].lower()
    if user.startswith("+"):
        found = resolve(store.subscriber_by_msisdn(sheets.msisdn(user) or ""))
    elif scheme in ("sip", "sips"):
        found = resolve(store.subscriber(domains.key(user)))
    else:
        found = resolve(store.subscriber_by_user(domains.address(user).key))
    if found is None:
        raise _Fault(f"no subscriber {user}")
    return found


def _save(store: SqlStore, subscriber: Subscriber, *, replaces: bool) -> int:
    clashes = resolve(store.add_subscribers([subscriber], replace=replaces))
    if clashes:
        raise _Fault("; ".join(sheets.describe(clash) for clash in clashes))
    return 0


def _add(options: argparse.Namespace, store: SqlStore, domains: Domains) -> int:
    subscriber = sheets.subscriber(
        {
            "user-id": options.user_id,
            "password": options.password,
            "aor": options.aor or "",
            "sip-user": options.sip_user or "",
            "sip-password": options.sip_password or "",
            "msisdn": options.msisdn or "",
            "enabled": options.enabled or "",
        },
        domains,
    )
    return _save(store, subscriber, replaces=False)


def _set(options: argparse.Namespace, store: SqlStore, domains: Domains) -> int:
    subscriber = _find(store, domains, options.user)
    changes: dict[str, Any] = {
        name: value
        for name in ("password", "sip_user", "sip_password")
        if (value := getattr(options, name)) is not None
    }
    if options.msisdn is not None:
        changes["msisdn"] = sheets.msisdn(options.msisdn)
    if options.enabled is not None:
        changes["enabled"] = options.enabled == "yes"
    if changes.get("password") == "":
        raise _Fault("the password is empty")
    return _save(store, replace(subscriber, **changes), replaces=True)


def _show(options: argparse.Namespace, store: SqlStore, domains: Domains) -> int:
    found = _find(store, domains, options.user)
    for name, value in (
        ("user-id", found.user_id),
        ("aor", found.aor),
        ("msisdn", found.msisdn or "-"),
        ("password", "set"),
        ("sip-user", found.sip_user or "-"),
        ("sip-password", "set" if found.sip_password else "-"),
        ("enabled", "yes" if found.enabled else "no"),
    ):
        print(f"{name:13}{value}")
    return 0


def _remove(options: argparse.Namespace, store: SqlStore, domains: Domains) -> int:
    found = _find(store, domains, options.user)
    if not resolve(store.remove_subscriber(found.aor)):
        raise _Fault(f"no subscriber {options.user}")
    return 0


def _all(store: SqlStore) -> Iterator[Subscriber]:
    after: str | None = None
    while page := resolve(store.subscribers(after, _PAGE)):
        yield from page
        after = page[-1].aor


def _list(_options: argparse.Namespace, store: SqlStore, _domains: Domains) -> int:
    for each in _all(store):
        state = "enabled" if each.enabled else "disabled"
        print(each.user_id, each.aor, each.msisdn or "-", state, sep="\t")
    return 0


def _import(options: argparse.Namespace, store: SqlStore, domains: Domains) -> int:
    name = "standard input" if options.file == "-" else options.file
    try:
        if options.file == "-":
            data = sys.stdin.buffer.read()
        else:
            data = Path(options.file).read_bytes()
    except OSError as error:
        raise _Fault(f"{options.file}: {error.strerror}") from None
    lines, faults = sheets.read(data, domains, sheets.progress(sys.stderr))
    new = [subscriber for _, subscriber in lines]
    if faults or options.dry_run:
        clashes = resolve(store.clashes(new, replace=options.replace))
    else:
        clashes = resolve(store.add_subscribers(new, replace=options.replace))
    faults += sheets.clash_faults(clashes, lines)
    if faults:
        for line, text in sorted(faults):
            sys.stderr.write(f"{name}:{line}: {text}\n")
        sys.stderr.write(f"nothing was imported; {len(faults)} faults\n")
        return 1
    done = "would be imported" if options.dry_run else "imported"
    print(f"{len(new)} subscribers {done}")
    return 0


def _export(options: argparse.Namespace, store: SqlStore, _domains: Domains) -> int:
    if options.file == "-":
        sheets.write(_all(store), sys.stdout)
        return 0
    try:
        # It holds passwords: for its owner alone, from the first byte on.
        handle = os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.fchmod(handle, 0o600)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            sheets.write(_all(store), file)
    except OSError as error:
        raise _Fault(f"{options.file}: {error.strerror}") from None
    return 0
