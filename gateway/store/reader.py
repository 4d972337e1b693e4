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


class _Holder:
    """One thread's connection, made when it is first needed and again when it died."""

    def __init__(self, connect: Callable[[], Link]) -> None:
        self._connect = connect
        self._link: Link | None = None

    def read(self, function: Callable[[Link], T]) -> T:
        used = self._link is not None
        try:
            try:
                return self._read(function)
            except Exception as raised:
                # It may have died unnoticed: once more on a new one.
                if not used or not unavailable(original(raised)):
                    raise
                return self._read(function)
        except Exception as raised:
            error = original(raised)
            if unavailable(error):
                raise Unreachable(f"the store is down: {error}") from None
            raise

    def _read(self, function: Callable[[Link], T]) -> T:
        try:
            if self._link is None:
                self._link = self._connect()
            return function(self._link)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class PooledReader:
    """Reads on threads, for the service."""

    def __init__(
        self, connect: Callable[[], Link], reactor: Any, *, threads: int = 2
    ) -> None:
        self._connect = connect
        self._reactor = reactor
        self._pool = ThreadPool(1, threads, name="store-reader")
        self._local = threading.local()
        self._holders: list[_Holder] = []
        self._pool.start()

    def read(self, function: Callable[[Link], T]) -> Deferred[T]:
        """Run ``function`` on a thread."""
        return self.run(lambda: self._holder().read(function))

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """Run a function that needs no connection of ours."""
        return deferToThreadPool(self._reactor, self._pool, function)

    def stop(self) -> None:
        """Finish what is read and let the connections go."""
        self._pool.stop()
        for holder in self._holders:
            holder.close()

    def _holder(self) -> _Holder:
        holder: _Holder | None = getattr(self._local, "holder", None)
        if holder is None:
            holder = self._local.holder = _Holder(self._connect)
            self._holders.append(holder)
        return holder


class InlineReader:
    """Reads at once in the caller's thread, for commands and for tests."""

    def __init__(self, connect: Callable[[], Link]) -> None:
        self._holder = _Holder(connect)

    def read(self, function: Callable[[Link], T]) -> Deferred[T]:
        """Run ``function`` now."""
        return self.run(lambda: self._holder.read(function))

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """Run a function now."""
        try:
            return succeed(function())
        except Exception as raised:
            return fail(raised)

    def stop(self) -> None:
        """Let the connection go."""
        self._holder.close()
