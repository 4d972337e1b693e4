"""The writer: what becomes one transaction, and what becomes of a failing one."""

from __future__ import annotations

import sqlite3
from threading import Event
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from gateway.errors import Unreachable
from gateway.store.link import Link
from gateway.store.writer import Committer, Failed, Operation, Write, Writer, rounds
from tests.store.doubles import ThreadedClock


class Table(Link):
    """A database of one list, and the connection to it, which fails as told."""

    def __init__(self) -> None:
        self.rows_: list[Any] = []
        self.log: list[str] = []
        self.failures: list[tuple[str, Exception]] = []
        self.pending: list[Any] = []

    def connect(self) -> Link:
        self.step("connect")
        self.pending = []
        return self

    def step(self, name: str) -> None:
        self.log.append(name)
        if self.failures and self.failures[0][0] == name:
            raise self.failures.pop(0)[1]

    def begin(self) -> None:
        self.step("begin")

    def put(self, value: Any) -> bool:
        self.step(f"put {value}")
        if value in self.rows_ or value in self.pending:
            return False
        self.pending.append(value)
        return True

    def commit(self) -> None:
        self.step("commit")
        self.rows_ += self.pending
        self.pending = []
        self.step("committed")

    def rollback(self) -> None:
        self.step("rollback")
        self.pending = []

    def close(self) -> None:
        self.log.append("close")
        self.pending = []


class Monotonic:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def put(link: Any, batch: Any) -> list[bool]:
    link.step("group")
    return [link.put(value) for value in batch]


def put_once(link: Any, batch: Any) -> list[bool]:
    """Put idempotently, as every real operation does."""
    return [link.put(value) or True for value in batch]


PUT = Operation("put", put)
OTHER = Operation("other", put)
ONCE = Operation("put once", put_once)


def lost() -> psycopg.OperationalError:
    return psycopg.OperationalError("the connection is lost")


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def committer(table: Table, monotonic: Monotonic) -> Committer:
    return Committer(table.connect, monotonic)


def writes(*values: Any, operation: Operation = PUT) -> list[Write]:
    return [Write(operation, value, value) for value in values]


def test_a_batch_is_one_transaction_and_one_group(committer, table):
    assert committer.commit(writes(1, 2, 3)) == [True, True, True]
    groups = ["connect", "begin", "group", "put 1", "put 2", "put 3"]
    assert table.log == [*groups, "commit", "committed"]
    assert committer.commits == 1


def test_each_write_gets_its_own_result(committer):
    committer.commit(writes(2))
    assert committer.commit(writes(1, 2, 3)) == [True, False, True]


def test_a_failing_batch_is_rolled_back_and_done_one_by_one(committer, table):
    fault = sqlite3.IntegrityError("row 2 is wrong")
    table.failures = [("put 2", fault), ("put 2", fault)]
    one, two, three = committer.commit(writes(1, 2, 3))
    assert (one, three) == (True, True)
    assert isinstance(two, Failed) and two.error is fault
    assert table.rows_ == [1, 3]
    assert "close" not in table.log


def test_a_commit_without_an_answer_is_repeated(committer, table):
    table.failures = [("committed", lost())]
    assert committer.commit(writes(1, 2, operation=ONCE)) == [True, True]
    assert table.rows_ == [1, 2]
    assert table.log.count("connect") == 2


def test_a_connection_that_died_meanwhile_costs_nothing(committer, table):
    committer.commit(writes(1))
    table.failures = [("begin", lost())]
    assert committer.commit(writes(2)) == [True]
    assert table.rows_ == [1, 2]


def test_while_the_database_is_away_writes_fail_and_connecting_is_spared(
    committer, table, monotonic
):
    table.failures = [("connect", lost())] * 4
    for result in committer.commit(writes(1, 2)):
        assert isinstance(result.error, Unreachable)
    assert table.log == ["connect", "connect"]
    [early] = committer.commit(writes(3))
    assert isinstance(early.error, Unreachable)
    assert table.log == ["connect", "connect"]
    monotonic.now += 0.1
    [second] = committer.commit(writes(3))
    assert isinstance(second.error, Unreachable)
    monotonic.now += 0.19
    assert isinstance(committer.commit(writes(3))[0], Failed)
    assert table.log == ["connect"] * 4
    monotonic.now += 0.01
    assert committer.commit(writes(3)) == [True]
    assert table.rows_ == [3]


def test_the_back_off_has_an_end(committer, table, monotonic):
    table.failures = [("connect", lost())] * 40
    for _ in range(20):
        committer.commit(writes(1))
        monotonic.now += 5.0
    assert committer.commit(writes(1)) == [True]


def test_who_waited_for_a_lock_in_vain_is_not_made_to_wait_again(committer, table):
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    table.failures = [("begin", error)]
    [result] = committer.commit(writes(1))
    assert isinstance(result.error, Unreachable)
    assert table.log.count("begin") == 1


def test_a_deadlock_is_tried_again(committer, table):
    deadlock = psycopg.errors.DeadlockDetected("deadlock")
    table.failures = [("put 1", deadlock), ("put 1", deadlock)]
    assert committer.commit(writes(1)) == [True]
    table.failures = [("put 2", deadlock)] * 3
    [result] = committer.commit(writes(2))
    assert result.error is deadlock


def test_a_rollback_that_fails_ends_the_connection(committer, table):
    table.failures = [("put 1", ValueError("ours")), ("rollback", lost())]
    [result] = committer.commit(writes(1))
    assert isinstance(result.error, ValueError)
    assert "close" in table.log
    assert committer.commit(writes(1)) == [True]


@given(
    st.lists(
        st.tuples(st.sampled_from([PUT, OTHER, ONCE]), st.integers(0, 4)), max_size=30
    )
)
def test_grouping_keeps_the_order_of_each_key(order):
    batch = [Write(operation, None, key) for operation, key in order]
    grouped = rounds(batch)
    done = [index for _, indexes in grouped for index in indexes]
    assert sorted(done) == list(range(len(batch)))
    for operation, indexes in grouped:
        assert all(batch[index].operation is operation for index in indexes)
    for key in {write.key for write in batch}:
        mine = [index for index in done if batch[index].key == key]
        assert mine == sorted(mine)


def test_equal_operations_on_different_keys_are_one_group():
    batch = [Write(operation, None, n) for n in range(9) for operation in (PUT, OTHER)]
    assert [operation for operation, _ in rounds(batch)] == [PUT, OTHER]


class Gate(Table):
    """A table whose first transaction waits until the test lets it commit."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = Event(), Event()

    def commit(self) -> None:
        self.begun.set()
        assert self.go_on.wait(30)
        super().commit()


def test_what_gathers_during_a_commit_becomes_the_next_transaction():
    clock, table = ThreadedClock(), Gate()
    committer = Committer(table.connect, Monotonic())
    writer = Writer(committer, clock)
    writer.start()
    first = writer.submit(PUT, 0, 0)
    assert table.begun.wait(30)
    rest: list[Deferred[bool]] = [writer.submit(PUT, n, n) for n in range(1, 51)]
    assert writer.waiting == 51
    table.go_on.set()
    assert clock.wait(first) is True
    assert all([clock.wait(each) for each in rest])
    assert committer.commits == 2
    assert writer.waiting == 0
    clock.wait(writer.stop())
    assert table.log[-1] == "close"


def test_too_many_waiting_writes_are_refused_at_once():
    clock, table = ThreadedClock(), Gate()
    writer = Writer(Committer(table.connect, Monotonic()), clock, most_waiting=3)
    writer.start()
    taken = [writer.submit(PUT, n, n) for n in range(3)]
    with pytest.raises(Unreachable, match="too many writes"):
        writer.submit(PUT, 4, 4)
    table.go_on.set()
    for each in taken:
        clock.wait(each)
    assert clock.wait(writer.submit(PUT, 5, 5)) is True
    clock.wait(writer.stop())


def test_stopping_commits_what_waits_and_takes_no_more():
    clock, table = ThreadedClock(), Gate()
    writer = Writer(Committer(table.connect, Monotonic()), clock)
    writer.start()
    taken = [writer.submit(PUT, n, n) for n in range(20)]
    stopped = writer.stop()
    with pytest.raises(Unreachable):
        writer.submit(PUT, 99, 99)
    table.go_on.set()
    clock.wait(stopped)
    assert all([clock.wait(each) for each in taken])
    assert table.rows_ == list(range(20))


def test_one_batch_has_a_limit():
    clock, table = ThreadedClock(), Gate()
    committer = Committer(table.connect, Monotonic())
    writer = Writer(committer, clock, most_in_batch=10)
    taken = [writer.submit(PUT, n, n) for n in range(25)]
    table.go_on.set()
    writer.start()
    for each in taken:
        clock.wait(each)
    clock.wait(writer.stop())
    assert committer.commits == 3


def test_a_defect_of_ours_does_not_end_the_thread():
    class Broken(Committer):
        def commit(self, batch):
            if batch[0].params == 1:
                raise KeyError("ours")
            return super().commit(batch)

    clock, table = ThreadedClock(), Table()
    writer = Writer(Broken(table.connect, Monotonic()), clock)
    writer.start()
    with capturedLogs() as logged, pytest.raises(KeyError):
        clock.wait(writer.submit(PUT, 1, 1))
    assert "the writer failed" in logged[0]["log_format"]
    assert clock.wait(writer.submit(PUT, 2, 2)) is True
    clock.wait(writer.stop())
