"""What the tests of the store share: a reactor's thread-side, records, waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.store import SessionRecord, StoredMessage, Subscriber

T = TypeVar("T")
PATIENCE = 30.0


@implementer(IReactorFromThreads)
class ThreadedClock(Clock):
    """A reactor's time and its queue of calls from threads, run by ``wait``."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[Any] = SimpleQueue()

    def callFromThread(
        self, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> None:
        """Have a function called by whoever waits."""
        self._calls.put((callable, args, kwargs))

    def wait(self, awaitable: Coroutine[Any, Any, T] | Deferred[T]) -> T:
        """Run calls from threads until there is a result; raise what it raises."""
        results: list[Any] = []
        self.begin(awaitable).addBoth(results.append)
        end = time.monotonic() + PATIENCE
        while not results:
            function, args, kwargs = self._calls.get(timeout=end - time.monotonic())
            function(*args, **kwargs)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def begin(self, awaitable: Coroutine[Any, Any, T] | Deferred[T]) -> Deferred[T]:
        """Start a coroutine."""
        if isinstance(awaitable, Deferred):
            return awaitable
        return Deferred.fromCoroutine(awaitable)


def outcome(awaitable: Coroutine[Any, Any, T]) -> T:
    """Return the result that a store without a reactor has at once."""
    return ThreadedClock().wait(awaitable)


def subscriber(name: str = "alice", **changes: Any) -> Subscriber:
    """Make a subscriber of that name."""
    fields: dict[str, Any] = {
        "aor": f"sip:{name}@example.com",
        "user_id": f"wv:{name}@example.com",
        "password": f"{name}'s password",
    }
    return Subscriber(**fields | changes)


def message(number: int = 1, **changes: Any) -> StoredMessage:
    """Make a message to Alice that was accepted at that time."""
    fields: dict[str, Any] = {
        "id": f"m{number}",
        "recipient": "sip:alice@example.com",
        "sender": "wv:bob@example.com",
        "content_type": "text/plain; charset=utf-8",
        "content": b"hello",
        "sent_at": number,
        "accepted_at": number,
        "expires_at": 1_000_000 + number,
        "direction": "to_handset",
    }
    return StoredMessage(**fields | changes)


def session(**changes: Any) -> SessionRecord:
    """Make a session of Alice's."""
    fields: dict[str, Any] = {
        "id": "s1",
        "aor": "sip:alice@example.com",
        "client_id": "wv:client1",
        "version": 12,
        "cookie": "c00kie",
        "bearer": "HTTP",
        "keep_alive": 600,
        "state": {"services": ["IM"], "multi_trans": 1},
        "last_activity": 5,
    }
    return SessionRecord(**fields | changes)
