"""The world of the model: a real node, what surrounds it, and how it is killed.

The store outlives the nodes, as a disk does. Each life of a node has a link and a way
to the store of its own, which are cut when it is killed: nothing that it left behind
can act any more.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any, cast
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from gateway.errors import Unreachable
from gateway.services.tokens import RandomTokens
from gateway.sip.message import Request, Response
from gateway.sip.transaction import Hop
from gateway.store import StoredMessage
from gateway.store.sql import SqlStore
from tests.services.doubles import START, Core, build, open_store, result_of

USERS = ("alice", "bob")


def aor_of(user: str) -> str:
    """Give the AoR of a user."""
    return f"sip:{user}@example.com"


class Gate:
    """One node's way to the store: closed, every call fails as a lost database does."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.open = True

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **keys: Any) -> Any:
            if not self.open:
                raise Unreachable("the store is away")
            return await found(*args, **keys)

        return call


class Link(Core):
    """The SIP side of one life of the node; cut, it carries nothing."""

    cut = False

    def send(self, hop: Hop, data: bytes) -> None:
        """Take one message of the node, see ``ILink``."""
        if not self.cut:
            super().send(hop, data)


class World:
    """One gateway through all its lives, with its clock, store and core."""

    def __init__(
        self, answer: Callable[[Request], Response | int | None], **sections: Any
    ) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.store = open_store(self.clock)
        self._answer = answer
        self._sections = sections
        self._past: list[object] = []  # what is collected may run its clean-up
        self.defects: list[LogEvent] = []
        globalLogPublisher.addObserver(cast(ILogObserver, self._noted))
        self.life = 0
        self.on_time: Callable[[], None] = lambda: None
        self._begin()

    def _begin(self) -> None:
        self.life += 1
        self.link = Link(self._answer)
        self.gate = Gate(self.store)
        # The same in each replay: ids order what has the same time.
        tokens = RandomTokens(random.Random(self.life).randbytes)
        with mock.patch("gateway.services.node.RandomTokens", lambda: tokens):
            self.node = build(
                self.clock, self.link, store=cast(SqlStore, self.gate), **self._sections
            )

    @property
    def now(self) -> float:
        """The time."""
        return self.clock.seconds()

    def _noted(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.defects.append(event)

    def kill(self) -> None:
        """End the node as a lost process ends, and start another one."""
        self._cut()
        self.clock.advance(0.001)  # what comes at one time has no order
        self._begin()

    def _cut(self) -> None:
        self.gate.open = False
        self.link.cut = True
        self._past.append((self.node, self.link, self.gate))
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()

    def wait(self, seconds: float) -> None:
        """Let time go by, in steps fine enough for the timers of SIP."""
        step = 0.5 if seconds < 100 else 5.0
        for number in range(round(seconds / step)):
            self.clock.advance(step)
            if number * step % 5.0 == 0:
                self.on_time()

    def row(self, message_id: str) -> StoredMessage | None:
        """Read a message, past the node."""
        return result_of(self.store.message(message_id))

    def waiting(self, user: str) -> list[StoredMessage]:
        """Read what waits for a user, past the node."""
        return result_of(self.store.messages(aor_of(user), None, 1000))

    def end(self) -> None:
        """Let go of all."""
        self._cut()
        result_of(self.store.close())
        globalLogPublisher.removeObserver(cast(ILogObserver, self._noted))
