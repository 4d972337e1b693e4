"""Waits with one length on one timer: each ends in time and in its turn."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gateway.errors import Unreachable
from gateway.services.deadlines import LATE, Deadlines


def watched(d: Deferred[Any]) -> list[Any]:
    found: list[Any] = []
    d.addBoth(found.append)
    return found


def test_what_comes_in_time_is_passed_on():
    clock = Clock()
    deadlines = Deadlines(clock, 8)
    work: Deferred[Any] = Deferred()
    found = watched(deadlines.first(work, deadlines.begin()))
    clock.advance(7.9)
    assert found == []
    work.callback("done")
    assert found == ["done"]
    clock.advance(10)
    assert clock.getDelayedCalls() == []


def test_a_failure_in_time_is_passed_on():
    deadlines = Deadlines(Clock(), 8)
    work: Deferred[Any] = Deferred()
    found = watched(deadlines.first(work, deadlines.begin()))
    work.errback(Unreachable("gone"))
    assert found[0].check(Unreachable)


def test_what_comes_late_keeps_its_result():
    clock = Clock()
    deadlines = Deadlines(clock, 8)
    work: Deferred[Any] = Deferred()
    found = watched(deadlines.first(work, deadlines.begin()))
    clock.advance(8)
    assert found == [LATE]
    work.callback("done")
    assert watched(work) == ["done"]


def test_a_second_wait_does_not_begin_anew():
    """A younger wait that was made before it must not make it longer."""
    clock = Clock()
    deadlines = Deadlines(clock, 8)
    old = deadlines.begin()
    first: Deferred[None] = Deferred()
    second: Deferred[None] = Deferred()
    watched(deadlines.first(first, old))
    clock.advance(7)
    young = watched(deadlines.first(Deferred(), deadlines.begin()))
    first.callback(None)
    again = watched(deadlines.first(second, old))
    clock.advance(1.1)
    assert again == [LATE] and young == []
    clock.advance(7)
    assert young == [LATE]


def test_waits_of_one_instant_end_in_their_order():
    clock = Clock()
    deadlines = Deadlines(clock, 8)
    order: list[int] = []
    moments = [deadlines.begin() for _ in range(3)]
    for number in (2, 0, 1):
        never: Deferred[Any] = Deferred()
        d: Any = deadlines.first(never, moments[number])
        d.addCallback(lambda _, n=number: order.append(n))
    clock.advance(9)
    assert order == [0, 1, 2]


def test_stopping_ends_every_wait_at_once():
    clock = Clock()
    deadlines = Deadlines(clock, 8)
    found = [watched(deadlines.first(Deferred(), deadlines.begin())) for _ in "ab"]
    deadlines.stop()
    assert found == [[LATE], [LATE]]
    assert clock.getDelayedCalls() == []
