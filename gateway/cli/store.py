"""``imps-gateway store migrate``: bring the schema up to date."""

from __future__ import annotations

import argparse
import sys

from gateway import config
from gateway.cli._store import add_config
from gateway.errors import Unreachable
from gateway.store import migrate
from gateway.store.link import Database

SUMMARY = "bring the store's schema up to date"


def run(arguments: list[str]) -> int:
    """Run the command; the exit status is 1 when the store cannot be had."""
    parser = argparse.ArgumentParser(prog="imps-gateway store", description=SUMMARY)
    commands = parser.add_subparsers(dest="command", required=True)
    add_config(commands.add_parser("migrate", help="bring the schema up to date"))
    database = Database(config.load(parser.parse_args(arguments).config).store.url)
    try:
        database.make_file()
        before, after = migrate.migrate(database)
    except Unreachable as error:
        sys.stderr.write(f"imps-gateway store: {error}\n")
        return 1
    finally:
        database.engine.dispose()
    if before == after:
        print(f"the schema is up to date: {after}")
    else:
        print(f"the schema is {after} now; it was {before or 'empty'}")
    return 0
