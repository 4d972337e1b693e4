"""Reads beside the writer: a small pool of threads, each with its own connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gateway.errors import Unreachable
from gateway.store.link import Link, original, unavailable

T = TypeVar("T")


class Reader(Protocol):
    """Runs a function with a connection that reads."""

    def read(self, function: Callable[[Link], T]) -> Deferred[T]:
        """Run ``function``; ``Unreachable`` when the database cannot be had."""

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """Run a function that needs no connection of ours but may block."""

    def stop(self) -> None:
        """Let the connections go."""


class PooledReader:
    """Reads on threads, for the service."""

    def __init__(
        self, connect: Callable[[], Link], reactor: Any, *, threads: int = 2
    ) -> None:
        self._connect = connect
        self._reactor = reactor
        self._pool = ThreadPool(1, threads, name="store-reader")
        self._local = threading.local()
        self._links: set[Link] = set()
        self._pool.start()

    def read(self, function: Callable[[Link], T]) -> Deferred[T]:
        """Run ``function`` on a thread."""
        return self.run(lambda: self._read(function))

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """Run a function that needs no connection of ours."""
        return deferToThreadPool(self._reactor, self._pool, function)

    def stop(self) -> None:
        """Finish what is read and let the connections go."""
        self._pool.stop()
        for link in self._links:
            link.close()
        self._links.clear()

    def _read(self, function: Callable[[Link], T]) -> T:
        link: Link | None = getattr(self._local, "link", None)
        if link is not None:
            try:
                return function(link)
            except Exception as raised:
                self._drop(link)
                # It may have died unnoticed: once more on a new one.
                if not unavailable(original(raised)):
                    raise
        try:
            link = self._local.link = self._connect()
            self._links.add(link)
            return function(link)
        except Exception as raised:
            if link is not None:
                self._drop(link)
            raise _as_ours(raised) from None

    def _drop(self, link: Link) -> None:
        self._local.link = None
        self._links.discard(link)
        link.close()


class InlineReader:
    """Reads at once in the caller's thread, for commands and for tests."""

    def __init__(self, connect: Callable[[], Link]) -> None:
        self._connect = connect
        self._link: Link | None = None

    def read(self, function: Callable[[Link], T]) -> Deferred[T]:
        """Run ``function`` now."""
        return self.run(lambda: self._read(function))

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """Run a function now."""
        try:
            return succeed(function())
        except Exception as raised:
            return fail(raised)

    def stop(self) -> None:
        """Let the connection go."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _read(self, function: Callable[[Link], T]) -> T:
        try:
            if self._link is None:
                self._link = self._connect()
            return function(self._link)
        except Exception as raised:
            self.stop()
            raise _as_ours(raised) from None


def _as_ours(raised: Exception) -> BaseException:
    error = original(raised)
    return Unreachable(f"the store is down: {error}") if unavailable(error) else error
