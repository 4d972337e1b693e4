"""One writer, group commit: many waiting writes, one transaction, one fsync.

While a transaction commits, what is asked meanwhile gathers; it becomes the next one.
There is no waiting for more, so a lonely write costs its own commit and no more than
the one under way (``docs/semantics.md`` 6).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads

from gateway.errors import Unreachable
from gateway.log import Logger
from gateway.store.link import Link, busy, original, transient, unavailable

_FIRST_BACK_OFF = 0.1
_LAST_BACK_OFF = 5.0
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """A kind of write: how many of it are done within one transaction.

    ``run`` gets the link and the parameters of each write, and returns the result of
    each, in order. It may run again after a rollback, or after a commit whose outcome
    is unknown, and then has to come to the same results.
    """

    name: str
    run: Callable[[Link, Sequence[Any]], Sequence[Any]]


class Write:
    """One waiting write. Writes with the same ``key`` keep their order."""

    __slots__ = ("key", "operation", "params", "settled")

    def __init__(self, operation: Operation, params: Any, key: Hashable) -> None:
        self.operation = operation
        self.params = params
        self.key = key
        self.settled: Deferred[Any] = Deferred()


@dataclass(frozen=True, slots=True)
class Failed:
    """The outcome of a write that was not done."""

    error: BaseException


def rounds(batch: Sequence[Write]) -> list[tuple[Operation, list[int]]]:
    """Group equal operations, never moving a write before another of its key."""
    groups: dict[tuple[int, Operation], list[int]] = {}
    last: dict[Hashable, tuple[int, Operation]] = {}
    for index, write in enumerate(batch):
        place = last.get(write.key)
        if place is None:
            place = (0, write.operation)
        elif place[1] is not write.operation:
            place = (place[0] + 1, write.operation)
        last[write.key] = place
        groups.setdefault(place, []).append(index)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])
    return [(place[1], indexes) for place, indexes in ordered]


class Committer:
    """Does batches on its own connection; reconnects with back-off.

    ``monotonic`` is seconds of a clock that never goes back.
    """

    _log = Logger()

    def __init__(
        self, connect: Callable[[], Link], monotonic: Callable[[], float]
    ) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self.link: Link | None = None
        self.commits = 0
        """How many transactions were committed."""
        self._back_off = 0.0
        self._not_before = 0.0

    def commit(self, batch: Sequence[Write]) -> list[Any]:
        """Do a batch; return for each write its result or ``Failed``."""
        if self.link is None and self._monotonic() < self._not_before:
            return [Failed(Unreachable("the store is down"))] * len(batch)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._transaction(batch)
            except Exception as raised:
                error = original(raised)
                if unavailable(error):
                    self._disconnect()
                    # A connection may have died unnoticed, and a COMMIT without an
                    # answer may have been done: every write is idempotent, so once
                    # more on a new one. Who waited for a lock in vain has waited.
                    if attempt == 1 and not busy(error):
                        continue
                    return self._refuse(batch, error)
                self._rollback()
                if len(batch) > 1:
                    return [self.commit([write])[0] for write in batch]
                if not transient(error) or attempt == _ATTEMPTS:
                    return [Failed(error)]
        raise AssertionError("the last attempt returns")

    def _transaction(self, batch: Sequence[Write]) -> list[Any]:
        link = self.link
        if link is None:
            link = self.link = self._connect()
        results: list[Any] = [None] * len(batch)
        link.begin()
        for operation, indexes in rounds(batch):
            found = operation.run(link, [batch[index].params for index in indexes])
            for index, result in zip(indexes, found, strict=True):
                results[index] = result
        link.commit()
        self.commits += 1
        if self._back_off:
            self._log.info("the store is back")
            self._back_off = 0.0
        return results

    def _refuse(self, batch: Sequence[Write], error: BaseException) -> list[Any]:
        if not self._back_off:
            self._log.error("the store is down: {error}", error=error)
        self._back_off = min(max(self._back_off * 2, _FIRST_BACK_OFF), _LAST_BACK_OFF)
        self._not_before = self._monotonic() + self._back_off
        return [Failed(Unreachable(f"the store is down: {error}"))] * len(batch)

    def _rollback(self) -> None:
        if self.link is not None:
            try:
                self.link.rollback()
            except Exception:
                self._disconnect()

    def _disconnect(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None

    def close(self) -> None:
        """Let the connection go."""
        self._disconnect()


class Writer:
    """The writer thread: takes writes from the reactor's thread, settles them there."""

    _log = Logger()

    def __init__(
        self,
        committer: Committer,
        reactor: IReactorFromThreads,
        *,
        most_waiting: int = 20_000,
        most_in_batch: int = 512,
    ) -> None:
        self._committer = committer
        self._reactor = reactor
        self._most_waiting = most_waiting
        self._most_in_batch = most_in_batch
        self._queue: SimpleQueue[Write | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended: Deferred[None] = Deferred()
        self._closing = False
        self.waiting = 0
        """How many writes are not settled."""

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(
            target=self._work, name="store-writer", daemon=True
        )
        self._thread.start()

    def submit(self, operation: Operation, params: Any, key: Hashable) -> Deferred[Any]:
        """Have a write done; the result comes after its commit.

        Raises ``Unreachable`` at once when too many wait.
        """
        if self.waiting >= self._most_waiting or self._closing:
            raise Unreachable("too many writes wait for the store")
        write = Write(operation, params, key)
        self.waiting += 1
        self._queue.put(write)
        return write.settled

    def stop(self) -> Deferred[None]:
        """Commit what waits and end the thread."""
        if self._closing or self._thread is None:
            return succeed(None)
        self._closing = True
        self._queue.put(None)
        return self._ended

    def _work(self) -> None:
        queue = self._queue
        settle = self._reactor.callFromThread
        while True:
            batch: list[Write] = []
            write = queue.get()
            while write is not None:
                batch.append(write)
                if len(batch) >= self._most_in_batch:
                    break
                try:
                    write = queue.get_nowait()
                except Empty:
                    break
            if batch:
                settle(self._settle, batch, self._commit(batch))
            if write is None:
                break
        self._committer.close()
        settle(self._ended.callback, None)

    def _commit(self, batch: list[Write]) -> list[Any]:
        try:
            return self._committer.commit(batch)
        except BaseException as error:
            # Ours, and it must not end the thread: everybody would wait for ever.
            self._log.failure("the writer failed")
            return [Failed(error)] * len(batch)

    def _settle(self, batch: list[Write], results: list[Any]) -> None:
        self.waiting -= len(batch)
        for write, result in zip(batch, results, strict=True):
            if type(result) is Failed:
                write.settled.errback(result.error)
            else:
                write.settled.callback(result)


class InlineWriter:
    """Does each write at once in the caller's thread: for commands and for tests."""

    waiting = 0

    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    def start(self) -> None:
        """Do nothing."""

    def submit(self, operation: Operation, params: Any, key: Hashable) -> Deferred[Any]:
        """Do a write now."""
        write = Write(operation, params, key)
        [result] = self._committer.commit([write])
        if type(result) is Failed:
            write.settled.errback(result.error)
        else:
            write.settled.callback(result)
        return write.settled

    def stop(self) -> Deferred[None]:
        """Let the connection go."""
        self._committer.close()
        return succeed(None)
