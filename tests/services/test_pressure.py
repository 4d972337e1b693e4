"""Under overload new work is put off at once, and what relieves goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from gateway.csp.common import Status
from gateway.csp.schema import Version
from gateway.errors import Unreachable
from gateway.services import pressure
from tests.services.doubles import START, Handset, message_to, result_of
from tests.services.test_ledger import SEND


class Working(Clock):
    """A clock that can go on within one turn of the reactor: work takes time."""

    worked = 0.0

    def seconds(self) -> float:
        """Give the time, that of the work done in this turn included."""
        return super().seconds() + self.worked

    def next_turn(self) -> None:
        """End the turn."""
        worked, self.worked = self.worked, 0.0
        self.advance(worked)


@pytest.fixture
def clock() -> Working:
    clock = Working()
    clock.advance(START)
    return clock


@pytest.fixture(autouse=True)
def least(monkeypatch):
    """Let every turn take one at least."""
    monkeypatch.setattr(pressure, "LEAST", 1)


@pytest.fixture
def late(clock, core, alice):
    """Have the node take one message, and be at work on that for too long."""
    clock.next_turn()
    assert core.ask(message_to("alice")).status == 200
    clock.worked = 0.051
    return alice.node


def refused(node, road: str) -> float:
    """Read from the figures how much was put off on a road."""
    values = result_of(node.figures()).counters["imps_put_off"][2]
    return values.get((road,), 0)


def at_once(core, request):
    """Have the node receive a request in this very turn."""
    core.receive(request)
    return core.responses[-1]


def test_a_message_from_sip_is_put_off_with_a_time_to_retry(core, late):
    answer = at_once(core, message_to("bob"))
    assert answer.status == 503
    assert 5 <= int(answer.headers.get("Retry-After")) <= 10
    assert late.ua.counts()["servers"] == 1, "nothing is kept of what was put off"
    assert refused(late, "sip") == 1


def test_a_long_turn_takes_some_all_the_same(clock, core, alice, monkeypatch):
    monkeypatch.setattr(pressure, "LEAST", 4)
    clock.next_turn()
    answers = []
    for _ in range(6):
        answers.append(at_once(core, message_to("alice")).status)
        clock.worked += 1.0
    assert answers == [200] * 4 + [503] * 2


def test_times_to_retry_are_not_all_the_same(core, late):
    times = {
        at_once(core, message_to("bob")).headers.get("Retry-After") for _ in range(40)
    }
    assert len(times) > 1


def test_what_was_put_off_is_taken_in_the_next_turn(clock, core, late):
    request = message_to("bob")
    assert at_once(core, request).status == 503
    clock.next_turn()
    assert at_once(core, request).status == 202


def test_other_requests_from_sip_go_on(core, late):
    request = message_to("alice")
    request.method = "OPTIONS"
    request.headers.set("CSeq", "1 OPTIONS")
    assert at_once(core, request).status == 200


def test_a_repeat_gets_its_answer_under_overload_too(clock, core, alice):
    request = message_to("alice")
    assert core.ask(request).status == 200
    clock.worked = 1.0
    assert at_once(core, request).status == 200


def test_a_handset_is_put_off_and_what_relieves_goes_on(clock, core, late, alice):
    sent = len(core.of("MESSAGE"))
    assert alice.code(SEND) == 503
    assert len(core.of("MESSAGE")) == sent
    (offer,) = alice.poll()
    alice.confirm(offer)
    assert alice.code("<KeepAlive-Request/>") == 200
    assert alice.code("<Logout-Request/>") == 200
    assert refused(late, "csp") == 1


def test_what_was_put_off_is_done_when_it_comes_again(clock, core, late, alice):
    assert isinstance(alice.ask(SEND, number="77"), Status)
    clock.next_turn()
    assert alice.ask(SEND, number="77").result.code == 200
    assert len(core.of("MESSAGE")) == 1
    clock.worked = 1.0
    assert alice.ask(SEND, number="77").result.code == 200, "its answer is known"
    assert len(core.of("MESSAGE")) == 1


def test_a_login_is_put_off_and_told_when_to_come_again(clock, late):
    handset = Handset(late, user="wv:bob@example.com", version=Version.V1_3)
    assert handset.login().result.code == 503
    clock.next_turn()
    assert handset.login().result.code == 200


def test_only_so_many_requests_are_worked_on(make, core):
    node = make(limits={"requests": 1})
    handset = Handset(node).open()
    core.script = lambda request: None  # the core is silent
    waiting = handset.begin(handset.body(handset.transaction(SEND)))
    assert handset.code(SEND) == 503
    assert handset.poll() == []
    node.clock.advance(8)
    assert b"<Code>200</Code>" in result_of(waiting).body
    core.script = lambda request: 200
    node.clock.advance(60)
    assert handset.code(SEND) == 200


def test_new_work_waits_while_the_store_is_behind(core, alice, monkeypatch):
    node = alice.node
    monkeypatch.setattr(node.pressure, "_waiting", lambda: 1000)
    assert core.ask(message_to("bob")).status == 503
    assert alice.code(SEND) == 503
    assert alice.poll() == []
    monkeypatch.setattr(node.pressure, "_waiting", lambda: 999)
    assert core.ask(message_to("bob")).status == 202


def test_a_session_has_its_share_of_requests(make, clock, core):
    node = make(limits={"session_requests": 2, "session_burst": 5})
    alice = Handset(node).open()
    bob = Handset(node, user="wv:bob@example.com").open()
    clock.advance(60)
    codes = [alice.code("<KeepAlive-Request/>") for _ in range(12)]
    assert codes == [200] * 11 + [503]
    assert bob.code("<KeepAlive-Request/>") == 200
    clock.advance(0.5)
    assert alice.code("<KeepAlive-Request/>") == 200
    assert refused(node, "session") == 1


def test_a_session_has_its_share_of_bytes(make, clock):
    node = make(limits={"session_bytes": 1000, "session_burst": 1})
    alice = Handset(node).open()
    clock.advance(60)
    big = SEND.replace("hello", "x" * 2000)
    assert big != SEND
    assert alice.code(big) == 200
    assert alice.code(big) == 503
    clock.advance(3)
    assert alice.code(big) == 200


def test_a_confirmation_beyond_the_share_counts_when_it_comes_again(make, clock, core):
    node = make(limits={"session_requests": 1, "session_burst": 0})
    alice = Handset(node)
    alice.login()
    clock.advance(10)
    alice.negotiate()
    clock.advance(10)
    assert core.ask(message_to("alice")).status == 200
    [offer] = alice.poll()
    with pytest.raises(Unreachable):
        alice.confirm(offer)
    clock.advance(31)
    [again] = alice.poll()
    assert again.id == offer.id
    clock.advance(2)
    alice.confirm(again)
    clock.advance(31)
    assert alice.poll() == []


def test_the_operator_hears_of_an_overload_once_and_of_its_end(clock, core, late):
    with capturedLogs() as logs:
        for _ in range(5):
            assert at_once(core, message_to("bob")).status == 503
        clock.next_turn()
        clock.advance(pressure.CALM + 0.1)
    texts = [formatEvent(e) for e in logs if "overload" in (e.get("log_format") or "")]
    assert texts == [
        "overload: new messages and logins are put off",
        "overload is over; 5 put off",
    ]


def test_limits_change_while_running(make, clock, core, alice):
    node = alice.node
    node.apply(replace(node.config, limits=replace(node.config.limits, turn=5.0)))
    clock.next_turn()
    assert core.ask(message_to("alice")).status == 200
    clock.worked = 1.0
    assert at_once(core, message_to("alice")).status == 200
