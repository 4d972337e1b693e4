"""A process that stores messages and tells each one that it was promised.

``python -m tests.store.durable URL COUNT [TOGETHER]``: COUNT messages, TOGETHER at a
time, each id on standard output once its commit is done. COUNT 0: without end.
"""

from __future__ import annotations

import itertools
import sys

from gateway.store import Added
from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore
from tests.store.doubles import ThreadedClock, message


def main(url: str, count: int, together: int = 1) -> None:
    """Store messages and tell of each."""
    clock = ThreadedClock()
    store = SqlStore(url, clock, Secrets(b"k" * 32), int)
    clock.wait(store.open())
    opened = store.commits
    numbers = iter(range(1, count + 1)) if count else itertools.count(1)
    while batch := list(itertools.islice(numbers, together)):
        started = [clock.begin(store.add_message(message(n))) for n in batch]
        for number, each in zip(batch, started, strict=True):
            assert clock.wait(each) == Added()
            sys.stdout.write(f"m{number}\n")
        sys.stdout.flush()
    sys.stdout.write(f"commits {store.commits - opened}\n")
    clock.wait(store.close())


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
