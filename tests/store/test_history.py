"""The history of messages: written late, found by id and by user, bounded."""

from __future__ import annotations

from gateway.store import HistoryEntry
from gateway.store import sql as sql_module
from gateway.store.secrets import Secrets
from gateway.store.upkeep import Bounds
from tests.store.doubles import outcome

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"


def entry(number: int, event: str = "accepted", message: str = "m1", **changes):
    return HistoryEntry(message_id=message, at=number, event=event, **changes)


def test_a_history_is_read_in_order_of_time(store):
    entries = [
        entry(3, "delivered"),
        entry(1, detail={"status": 200, "peer": "ü\0"}, users=(ALICE, BOB)),
        entry(2, "offered", users=(ALICE,)),
        entry(1, message="m2", users=(BOB,)),
    ]
    outcome(store.add_history(entries))
    found = outcome(store.history("m1"))
    assert [each.event for each in found] == ["accepted", "offered", "delivered"]
    assert found[0].detail == {"status": 200, "peer": "ü\0"}
    assert outcome(store.history("m3")) == []


def test_the_same_entry_again_is_kept_once(store):
    for _ in range(2):
        outcome(store.add_history([entry(1, users=(ALICE,))]))
    assert len(outcome(store.history("m1"))) == 1
    assert outcome(store.messages_of(ALICE)) == ["m1"]


def test_a_users_messages_are_listed_the_newest_first(store):
    outcome(
        store.add_history(
            [entry(n, message=f"m{n}", users=(ALICE, BOB)) for n in range(1, 6)]
        )
    )
    assert outcome(store.messages_of(ALICE, 3)) == ["m5", "m4", "m3"]
    assert outcome(store.messages_of("sip:carol@example.com")) == []


def test_notes_are_written_together_after_a_while(threaded, clock):
    for number in range(5):
        threaded.note_history(entry(number))
    assert clock.wait(threaded.counts())["history_waiting"] == 5
    before = threaded.commits
    clock.advance(1)
    assert clock.wait(threaded.counts())["history_waiting"] == 0
    clock.wait(threaded.add_history([]))
    assert len(clock.wait(threaded.history("m1"))) == 5
    assert threaded.commits <= before + 2


def test_notes_are_written_when_the_store_closes(make, url, clock, now):
    store = sql_module.SqlStore(url, clock, Secrets(b"k" * 32), now)
    clock.wait(store.open())
    store.note_history(entry(1))
    clock.wait(store.close())
    assert clock.getDelayedCalls() == []
    assert len(outcome(make(url).history("m1"))) == 1


def test_too_many_notes_push_the_oldest_out(threaded, clock, monkeypatch):
    monkeypatch.setattr(sql_module, "_HISTORY_WAITING", 3)
    for number in range(5):
        threaded.note_history(entry(number))
    counts = clock.wait(threaded.counts())
    assert (counts["history_waiting"], counts["history_dropped"]) == (3, 2)
    clock.advance(1)
    clock.wait(threaded.add_history([]))
    assert [each.at for each in clock.wait(threaded.history("m1"))] == [2, 3, 4]


def test_old_history_is_swept(make, url):
    store = make(url, Bounds(history_for=10))
    entries = [entry(n, message=f"m{n}", users=(ALICE,)) for n in range(20)]
    outcome(store.add_history(entries))
    gone = outcome(store.sweep(20))
    assert (gone["history"], gone["history_users"]) == (10, 10)
    assert outcome(store.history("m9")) == []
    assert len(outcome(store.messages_of(ALICE))) == 10


def test_the_history_has_a_limit(make, url):
    store = make(url, Bounds(history=5))
    outcome(store.add_history([entry(n, message=f"m{n}") for n in range(2500)]))
    assert outcome(store.sweep(0))["history"] == 2495
    assert outcome(store.counts())["history"] == 5
    assert outcome(store.history("m2499")) != []
