"""The whole store: threads, durability, outages, other processes."""

from __future__ import annotations

import sqlite3
import threading
from functools import partial

import psycopg
import pytest
from twisted.logger import capturedLogs

from gateway.errors import Unreachable
from gateway.store import Added, Duplicate, Full, Limits, Store, messages
from gateway.store import link as link_module
from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore
from tests.store.doubles import message, outcome, session, subscriber

ALICE = "sip:alice@example.com"


def test_it_keeps_the_contract(store):
    contract: Store = store
    assert outcome(contract.counts())["subscribers"] == 0


def test_durability_is_read_back_on_the_writers_own_connection(threaded, clock):
    assert threaded.settings() == {}
    clock.wait(threaded.add_message(message()))
    settings = threaded.settings()
    if threaded.database.dialect == "sqlite":
        # 2 is FULL.
        assert settings == {
            "journal_mode": "wal",
            "synchronous": "2",
            "busy_timeout": "5000",
        }
    else:
        assert settings["synchronous_commit"] == "on"
        assert settings["lock_timeout"] == "5s"


def test_writes_of_many_share_their_commits(threaded, clock):
    before = threaded.commits
    started = [clock.begin(threaded.add_message(message(n))) for n in range(200)]
    assert [clock.wait(each) for each in started] == [Added()] * 200
    assert threaded.commits - before < 100
    assert len(clock.wait(threaded.messages(ALICE, limit=500))) == 200


def test_the_calls_of_one_session_keep_their_order(threaded, clock):
    started = []
    for number in range(20):
        one = session(id=f"s{number}")
        started += [
            clock.begin(threaded.save_session(one)),
            clock.begin(threaded.touch_session(one.id, 0, 77)),
            clock.begin(threaded.end_session(one.id, 0, 88)),
        ]
    assert all([clock.wait(each) for each in started])
    for number in range(20):
        found = clock.wait(threaded.session(f"s{number}"))
        assert (found.last_activity, found.ended_at) == (77, 88)


def test_a_quota_holds_within_one_transaction_too(threaded, clock):
    limits = Limits(max_messages=10, max_bytes=10_000)
    started = [clock.begin(threaded.add_message(message(n), limits)) for n in range(60)]
    results = [clock.wait(each) for each in started]
    assert results.count(Added()) == 10
    assert results.count(Full()) == 50


def test_a_quota_holds_across_processes(url, now, make):
    outcome(make(url).counts())
    limits = Limits(max_messages=25, max_bytes=10_000)
    added = []

    def node(name: str) -> None:
        store = SqlStore(url, None, Secrets(b"k" * 32), now)
        outcome(store.open())
        for number in range(25):
            one = message(number, id=f"{name}{number}")
            added.append(outcome(store.add_message(one, limits)))
        outcome(store.close())

    threads = [threading.Thread(target=node, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (added.count(Added()), added.count(Full())) == (25, 50)


def test_a_merged_request_is_stored_once_in_one_transaction(threaded, clock):
    copies = [message(n, inbound_key="call 1", answer=202) for n in range(8)]
    started = [clock.begin(threaded.add_message(copy)) for copy in copies]
    results = [clock.wait(each) for each in started]
    assert results == [Added()] + [Duplicate(202, "m0")] * 7


def test_what_waits_is_committed_when_the_store_closes(make, url, clock, now):
    store = SqlStore(url, clock, Secrets(b"k" * 32), now)
    clock.wait(store.open())
    started = [clock.begin(store.add_message(message(n))) for n in range(50)]
    clock.wait(store.close())
    assert [clock.wait(each) for each in started] == [Added()] * 50
    with pytest.raises(Unreachable):
        clock.wait(store.message("m1"))
    with pytest.raises(Unreachable):
        clock.wait(store.add_message(message(99)))
    assert outcome(make(url).counts())["messages_to_handset"] == 50


def test_a_store_that_was_never_opened_closes(url, clock, now):
    clock.wait(SqlStore(url, clock, Secrets(b"k" * 32), now).close())


def test_the_gauges_count_every_table(store):
    outcome(store.add_subscribers([subscriber()]))
    outcome(store.add_message(message(1)))
    outcome(store.add_message(message(2, direction="to_sip")))
    outcome(store.add_message(message(3)))
    outcome(store.finish_message("m3", "rejected"))
    outcome(store.save_session(session()))
    outcome(store.save_session(session(id="s2")))
    outcome(store.end_session("s2", 0, 9))
    assert outcome(store.counts()) == {
        "subscribers": 1,
        "messages_to_handset": 1,
        "messages_to_sip": 1,
        "messages_finished": 1,
        "sessions_open": 1,
        "sessions_ended": 1,
        "registrations": 0,
        "history": 0,
        "history_users": 0,
        "writes_waiting": 0,
        "history_waiting": 0,
        "history_dropped": 0,
        "subscribers_cached": 0,
    }


def plan(store, sql, params):
    """Return how the database goes about a statement."""
    link = store.database.link(write=False)
    text, arrange = sql.text(store.database.dialect)
    if store.database.dialect == "sqlite":
        explain = f"EXPLAIN QUERY PLAN {text}"
    else:
        # An empty table is read whole, whatever its indexes.
        link._cursor.execute("SET enable_seqscan TO off")
        explain = f"EXPLAIN {text}"
    found = str(link._cursor.execute(explain, arrange(params)).fetchall())
    link.close()
    return found


PAGE = messages.after_params((5, "m"), 10)
ROW = messages.to_row_within(message(), Limits(max_messages=1, max_bytes=1))


@pytest.mark.parametrize(
    ("sql", "params", "index"),
    [
        (messages.OF_HANDSET, {**PAGE, "recipient": ALICE}, "messages_to_handset"),
        (messages.OF_SIP, PAGE, "messages_to_sip"),
        (messages.EXPIRED, {"now": 1, "limit": 1}, "messages_expiring"),
        (messages._INSERT_WITHIN, ROW, "messages_to_handset"),
    ],
)
def test_what_is_asked_often_is_read_through_an_index(make, url, sql, params, index):
    found = plan(make(url), sql, params)
    assert index in found
    assert "TEMP B-TREE" not in found and "Sort" not in found


def test_a_quota_is_counted_without_the_messages(make, tmp_path):
    store = make(f"sqlite:///{tmp_path}/gateway.db")
    found = plan(store, messages._INSERT_WITHIN, ROW)
    assert "COVERING INDEX messages_to_handset" in found


@pytest.mark.parametrize("name", ["m\0", "\udcff", "wv:\0@example.com"])
def test_a_name_that_no_text_can_hold_is_unknown(store, name):
    assert outcome(store.message(name)) is None
    assert outcome(store.session(name)) is None
    assert outcome(store.subscriber_by_user(name)) is None
    assert outcome(store.finish_message(name, "delivered")) is False


class TestOutages:
    """A database that is not to be had: no promise, no hang, and it comes back."""

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "gateway.db"

    @pytest.fixture
    def sqlite_store(self, make, path):
        return make(f"sqlite:///{path}")

    def test_a_locked_file(self, make, path, monkeypatch):
        monkeypatch.setattr(link_module, "BUSY_TIMEOUT", 0.05)
        store = make(f"sqlite:///{path}")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unreachable, match="locked"):
            outcome(store.add_message(message()))
        assert outcome(store.message("m1")) is None
        other.execute("ROLLBACK")
        other.close()
        self.recovers(store)

    def test_a_full_disk(self, sqlite_store, monkeypatch):
        database = sqlite_store.database
        real = database.link

        def link(*, write):
            made = real(write=write)
            pages = made._connection.execute("PRAGMA page_count").fetchone()[0]
            made._connection.execute(f"PRAGMA max_page_count={pages + 2}")
            return made

        monkeypatch.setattr(database, "link", link)
        large = message(content=b"x" * 100_000)
        with pytest.raises(Unreachable, match="full"):
            outcome(sqlite_store.add_message(large))
        monkeypatch.undo()
        self.recovers(sqlite_store)

    def test_a_file_that_cannot_be_written(self, sqlite_store, path, monkeypatch):
        database = sqlite_store.database
        outcome(sqlite_store.add_message(message(5)))
        sqlite_store._committer.link._connection.execute("PRAGMA query_only=ON")
        real = database.link

        def link(*, write):
            made = real(write=write)
            made._connection.execute("PRAGMA query_only=ON")
            return made

        monkeypatch.setattr(database, "link", link)
        with pytest.raises(Unreachable, match="readonly"):
            outcome(sqlite_store.add_message(message()))
        monkeypatch.undo()
        self.recovers(sqlite_store)

    def recovers(self, store):
        """The back-off is short at first; a caller's next attempt gets through."""
        done = threading.Event()
        for _ in range(100):
            try:
                assert outcome(store.add_message(message())) == Added()
                break
            except Unreachable:
                done.wait(0.02)
        assert outcome(store.message("m1")) is not None

    @pytest.mark.component("postgresql")
    def test_a_server_that_cuts_the_connections(self, make, postgres_url):
        store = make(postgres_url)
        outcome(store.add_message(message(1)))
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'imps-gateway'"
            )
        # Both connections are gone, and nobody notices.
        assert outcome(store.add_message(message(2))) == Added()
        assert outcome(store.message("m1")) is not None

    @pytest.mark.component("postgresql")
    def test_a_server_that_stops_and_starts(self, server, postgres_url, clock, now):
        store = SqlStore(postgres_url, clock, Secrets(b"k" * 32), now)
        clock.wait(store.open())
        clock.wait(store.add_message(message(1)))
        server.stop()
        for call in (
            lambda: store.add_message(message(2)),
            lambda: store.finish_message("m1", "delivered"),
            lambda: store.message("m1"),
        ):
            with pytest.raises(Unreachable):
                clock.wait(call())
        server.start()
        waiting = threading.Event()
        for _ in range(200):
            try:
                assert clock.wait(store.add_message(message(2))) == Added()
                break
            except Unreachable:
                waiting.wait(0.05)
        found = clock.wait(store.messages(ALICE))
        assert [each.id for each in found] == ["m1", "m2"]
        clock.wait(store.close())

    @pytest.mark.component("postgresql")
    def test_a_server_without_durability_is_warned_about(self, make, postgres_url):
        with capturedLogs() as logged:
            make(postgres_url)
        # The tests' own server runs with fsync off.
        assert ["fsync off" in event["log_format"] for event in logged] == [True]


def test_a_write_repeated_after_a_lost_commit_says_the_same(make, url, monkeypatch):
    """Each operation runs twice to its commit; the second tells the same results."""
    store = make(url)
    calls = [
        partial(store.add_subscribers, [subscriber()]),
        partial(store.add_message, message(inbound_key="k")),
        partial(store.save_session, session()),
        partial(store.touch_session, "s1", 0, 9),
        partial(store.finish_message, "m1", "delivered"),
        partial(store.end_session, "s1", 0, 9),
    ]
    results = []
    for call in calls:
        real = store.database.link

        def link(*, write, real=real):
            made = real(write=write)
            commit = made.commit

            def committed_in_silence():
                commit()
                made.commit = commit
                monkeypatch.undo()
                raise psycopg.OperationalError("no answer to COMMIT")

            made.commit = committed_in_silence
            return made

        store._committer.close()
        monkeypatch.setattr(store.database, "link", link)
        results.append(outcome(call()))
    assert results == [[], Added(), True, True, True, True]
    assert outcome(store.finish_message("m1", "failed")) is False
