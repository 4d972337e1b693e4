"""The store for a command: opened without a reactor, every call done at once."""

from __future__ import annotations

import argparse
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gateway import config
from gateway.identity import Domains
from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore

T = TypeVar("T")


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config FILE``, which every command on the store needs."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, required=True, help="the configuration"
    )


def resolve(coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
    """Return what a coroutine of a store without a reactor comes to."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    [result] = results
    if isinstance(result, Failure):
        result.raiseException()
    found: T = result
    return found


@contextmanager
def opened(path: Path) -> Iterator[tuple[SqlStore, Domains]]:
    """Open the store that a configuration names.

    Raises ``ConfigFaults`` or ``ConfigError`` on a fault of the configuration, and
    ``Unreachable``.
    """
    loaded = config.load(path)
    secrets = Secrets.open(loaded.gateway.state_dir)
    store = SqlStore(loaded.store.url, None, secrets, _now)
    resolve(store.open())
    try:
        yield store, Domains(home=loaded.gateway.domain, sip=loaded.sip.domain)
    finally:
        resolve(store.close())


def _now() -> int:
    return time.time_ns() // 1000
