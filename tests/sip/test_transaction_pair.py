"""Two transaction layers joined by a network that loses, repeats and reorders."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gateway.sip.message import parse
from gateway.sip.transaction import (
    ClientTransaction,
    Hop,
    RequestReceived,
    ResponseReceived,
    ServerTransaction,
    TimedOut,
    TransactionLayer,
    TransportFailed,
)
from tests.sip.samples import request

_FINAL = (TimedOut, TransportFailed)


class BadNetwork(RuleBasedStateMachine):
    """A client and a server layer; whatever the network does, promises are kept.

    Each request ends exactly once, no request reaches the server's user twice while
    its transaction lives, and in the end neither side keeps anything.
    """

    @initialize(transport=st.sampled_from(["udp", "tcp"]))
    def set_up(self, transport: str) -> None:
        """Begin with two empty layers."""
        numbers = itertools.count()
        self.now = 0.0
        self.hops = {
            "client": Hop(transport, "192.0.2.1", 5060),
            "server": Hop(transport, "192.0.2.2", 5060),
        }
        self.layers = {
            name: TransactionLayer(
                token=lambda: f"t{next(numbers)}",
                via=lambda hop: "192.0.2.1:5060",
                max_transactions=50,
            )
            for name in self.hops
        }
        self.air: list[tuple[str, bytes]] = []
        self.open: list[RequestReceived] = []
        self.seen: Counter[str] = Counter()
        self.ended: Counter[ClientTransaction | ServerTransaction] = Counter()
        self.begun: list[ClientTransaction] = []

    @precondition(lambda self: len(self.begun) < 40)
    @rule(method=st.sampled_from(["MESSAGE", "OPTIONS", "INVITE"]))
    def ask(self, method: str) -> None:
        """Send a request."""
        asked = request(method, len(self.begun) + 1)
        layer = self.layers["client"]
        self.begun.append(layer.request(asked, self.hops["server"], self.now))
        self.fetch()

    @precondition(lambda self: self.air)
    @rule(data=st.data(), keep=st.booleans())
    def carry(self, data: st.DataObject, keep: bool) -> None:
        """Deliver any packet that is under way, perhaps not for the last time."""
        index = data.draw(st.integers(0, len(self.air) - 1))
        target, packet = self.air[index] if keep else self.air.pop(index)
        other = "client" if target == "server" else "server"
        self.layers[target].receive(parse(packet), self.hops[other], self.now)
        self.fetch()

    @precondition(lambda self: self.air)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """Lose a packet."""
        self.air.pop(data.draw(st.integers(0, len(self.air) - 1)))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), status=st.sampled_from([100, 180, 200, 404, 503]))
    def answer(self, data: st.DataObject, status: int) -> None:
        """Let the server's user answer one of its requests."""
        index = data.draw(st.integers(0, len(self.open) - 1))
        event = self.open[index] if status < 200 else self.open.pop(index)
        response = event.request.response(status, tag="b")
        self.layers["server"].respond(event.transaction, response, self.now)
        self.fetch()

    @rule(seconds=st.sampled_from([0.01, 0.5, 1, 4, 31]))
    def wait(self, seconds: float) -> None:
        """Let time pass, timers firing when they are due."""
        until = self.now + seconds
        while (when := self.next_timer()) is not None and when <= until:
            self.now = max(self.now, when)
            for layer in self.layers.values():
                layer.handle_timer(self.now)
            self.fetch()
        self.now = until

    @rule()
    def break_transport(self) -> None:
        """Break the client's connection to the server."""
        self.layers["client"].transport_failed(self.hops["server"], self.now)
        self.fetch()

    def next_timer(self) -> float | None:
        """The earlier of the two layers' timers."""
        times = [layer.next_timer() for layer in self.layers.values()]
        return min((t for t in times if t is not None), default=None)

    def fetch(self) -> None:
        """Take what both layers send and tell."""
        for name, layer in self.layers.items():
            other = "client" if name == "server" else "server"
            self.air += [(other, data) for _, data in layer.data_to_send()]
            for event in iter(layer.next_event, None):
                if isinstance(event, RequestReceived):
                    self.take(event)
                elif isinstance(event, ResponseReceived):
                    if event.response.status >= 200:
                        self.ended[event.transaction] += 1
                elif isinstance(event, _FINAL):
                    self.ended[event.transaction] += 1

    def take(self, event: RequestReceived) -> None:
        """Note a request that reached the server's user."""
        key = event.transaction.key
        live = [e for e in self.open if e.transaction.key == key]
        assert not any(e.transaction.pending for e in live)
        self.seen[key] += 1
        self.open.append(event)

    @invariant()
    def each_ends_at_most_once(self) -> None:
        """A second final event for one request would be a second answer."""
        if hasattr(self, "ended"):
            for transaction, times in self.ended.items():
                assert times == 1 or transaction.key.endswith("INVITE")

    @invariant()
    def counts_are_right(self) -> None:
        """The gauge of what waits is what waits."""
        for layer in getattr(self, "layers", {}).values():
            every = [*layer._clients.values(), *layer._servers.values()]
            assert layer.counts()["pending"] == sum(t.pending for t in every)

    def teardown(self) -> None:
        """In the end each request has ended and nothing is kept."""
        if not hasattr(self, "layers"):
            return
        for event in self.open:
            response = event.request.response(500, tag="b")
            self.layers["server"].respond(event.transaction, response, self.now)
        self.open.clear()
        self.fetch()
        self.air.clear()
        # Twice 64 T1: once for the answer, once for what lingers behind it.
        for _ in range(5):
            self.wait(31)
        # An INVITE that rings for ever is the user's to end.
        self.break_transport()
        for transaction in self.begun:
            assert self.ended[transaction] >= 1, transaction.key
        for layer in self.layers.values():
            assert set(layer.counts().values()) == {0}
            assert layer.next_timer() is None


BadNetworkTests = BadNetwork.TestCase
BadNetworkTests.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
