"""A start with many open sessions: nobody who asks has to wait for all of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from gateway.errors import Unreachable
from gateway.services import node as nodes
from gateway.services.sessions import Sessions
from tests.services.doubles import (
    Core,
    Handset,
    build,
    message_to,
    open_store,
    result_of,
    subscriber,
    texts,
)

NAMES = [f"u{number}" for number in range(70)]


class Gate:
    """A store whose claims wait, but for those of some AoRs."""

    def __init__(self, store, free=()) -> None:
        self._claim = store.claim
        self.waiting: list[Deferred] = []
        self.free = {f"sip:{name}@example.com" for name in free}
        store.claim = self.claim
        self._store = store

    async def claim(self, session_id: str, owner: str):
        record = await self._store.session(session_id)
        if record.aor not in self.free:
            gate: Deferred = Deferred()
            self.waiting.append(gate)
            await gate
        return await self._claim(session_id, owner)

    def open(self) -> None:
        """Let those go on that wait now."""
        waiting, self.waiting = self.waiting, []
        for gate in waiting:
            gate.callback(None)


@pytest.fixture
def store(clock, core):
    """Give a store with an open session of each user, left by a node that is gone."""
    store = open_store(clock, tuple(subscriber(name) for name in NAMES))
    node = build(clock, core, store=store, session={"keep_alive": 86400})
    for name in NAMES:
        Handset(node, user=f"wv:{name}@example.com").open()
    for part in (node.outbox, node.registrations, node.sessions, node.pressure):
        part.stop()
    for _, loop in node._loops:
        loop.stop()
    return store


@pytest.fixture
def restart(make, clock, store):
    """Start a node on that store."""

    def restarted(core: Core | None = None, **settings):
        return make(core=core or Core(), store=store, **settings)

    return restarted


def session_of(store, name: str) -> str:
    records = result_of(store.open_sessions())
    [found] = [r.id for r in records if r.aor == f"sip:{name}@example.com"]
    return found


def test_sessions_come_back_a_few_at_a_time(clock, store, restart):
    gate = Gate(store)
    node = restart()
    counts = []
    while gate.waiting:
        counts.append(len(gate.waiting))
        gate.open()
    assert counts == [32, 32, 6]
    assert len(node.sessions) == 70
    assert node.sessions.restoring == 0


def test_the_pause_is_as_long_as_the_work(clock, store, restart):
    gate = Gate(store)
    node = restart()
    clock.advance(2)
    gate.open()
    assert len(node.sessions) == 32
    clock.advance(1.9)
    assert gate.waiting == []
    clock.advance(0.2)
    assert len(gate.waiting) == 32


def test_who_is_heard_meanwhile_is_served(store, restart):
    gate = Gate(store, free=("u69",))
    node = restart()
    handset = Handset(node, user="wv:u69@example.com")
    handset.session = session_of(store, "u69")
    assert handset.code("<KeepAlive-Request/>") == 200
    assert gate.waiting, "others are not back yet"


def test_a_message_for_a_session_not_yet_back_is_offered_to_it(store, restart):
    Gate(store, free=("u69",))
    core = Core()
    node = restart(core)
    answer = core.ask(message_to("u69", "welcome back"))
    assert answer is not None and answer.status == 200
    handset = Handset(node, user="wv:u69@example.com")
    handset.session = session_of(store, "u69")
    assert texts(handset.poll()) == ["welcome back"]


def test_messages_that_wait_for_a_session_keep_their_order(store, restart):
    gate = Gate(store)
    core = Core()
    node = restart(core)
    sent = [f"text {number}" for number in range(3)]
    for text in sent:
        assert core.ask(message_to("u7", text)) is None
    while gate.waiting:
        gate.open()
    assert [response.status for response in core.responses] == [200] * 3
    handset = Handset(node, user="wv:u7@example.com")
    handset.session = session_of(store, "u7")
    assert [texts(handset.poll()) for _ in sent] == [[text] for text in sent]


def test_messages_for_a_session_that_cannot_be_claimed_are_put_off(store, restart):
    gate = Gate(store)
    core = Core()
    restart(core)
    for _ in range(2):
        assert core.ask(message_to("u7")) is None
    while gate.waiting:  # whose turn it is asks for himself once more
        waiting, gate.waiting = gate.waiting, []
        for claim in waiting:
            claim.errback(Unreachable("the store is down"))
    assert [response.status for response in core.responses] == [503] * 2


def test_a_login_meanwhile_replaces_the_session_of_the_same_client(store, restart):
    Gate(store, free=("u69",))
    node = restart()
    old = session_of(store, "u69")
    handset = Handset(node, user="wv:u69@example.com").open()
    assert [s.id for s in node.sessions.of("sip:u69@example.com")] == [handset.session]
    assert result_of(store.session(old)).ended_at is not None


def test_registers_are_spread_over_time(clock, store, restart):
    core = Core()
    node = restart(core, limits={"registrations": 7})
    assert core.of("REGISTER") == []
    counts = []
    for _ in range(10):
        clock.advance(1)
        counts.append(len(core.of("REGISTER")))
    assert counts[-1] == 70
    assert len(node.registrations) == 70
    assert all(after - before < 25 for before, after in pairwise(counts))


def test_few_register_at_once(store, restart):
    core = Core()
    restart(core, limits={"registrations": 70})
    assert len(core.of("REGISTER")) == 70


def test_a_store_that_is_away_is_asked_again(clock, store, restart, monkeypatch):
    real = Sessions.restore
    tries = []

    async def failing(self):
        tries.append(1)
        if len(tries) == 1:
            raise Unreachable("the store is down")
        return await real(self)

    monkeypatch.setattr(Sessions, "restore", failing)
    with capturedLogs() as logs:
        node = restart()
        assert len(node.sessions) == 0
        clock.advance(nodes.RETRY)
    assert len(node.sessions) == 70
    told = [formatEvent(e) for e in logs if e["log_namespace"].endswith("Node")]
    assert told == [
        "open sessions wait: the store is down",
        "70 sessions are open again",
    ]


def test_a_stop_in_the_middle_leaves_no_timer(clock, core, store):
    gate = Gate(store)
    node = build(clock, core, store=store)
    clock.advance(1)
    gate.open()
    node.drain()
    result_of(node.stop())
    result_of(node.restored)
    assert clock.getDelayedCalls() == []
