"""Sessions and their epochs; the one registration of each AoR."""

from __future__ import annotations

from dataclasses import replace

from gateway.store import Registration
from gateway.store.upkeep import Bounds
from tests.store.doubles import outcome, session, subscriber

US = 1_000_000
NEW = Registration(
    aor="sip:alice@example.com", instance="urn:uuid:1", call_id="c1", cseq=1
)


def test_a_session_is_read_back_as_it_was_given(store):
    given = session(owner="n1")
    assert outcome(store.save_session(given))
    assert outcome(store.session("s1")) == given
    assert outcome(store.session("s2")) is None


def test_a_save_replaces_what_was_saved(store):
    outcome(store.save_session(session()))
    changed = session(state={"a": [1, None]}, keep_alive=60, cookie="d")
    assert outcome(store.save_session(changed))
    assert outcome(store.session("s1")) == changed


def test_a_claim_raises_the_epoch_and_locks_the_old_owner_out(store):
    mine = session(owner="n1")
    outcome(store.save_session(mine))
    theirs = outcome(store.claim("s1", "n2"))
    assert theirs == replace(mine, owner="n2", epoch=1)
    assert not outcome(store.save_session(replace(mine, cookie="late")))
    assert not outcome(store.touch_session("s1", 0, 99))
    assert not outcome(store.end_session("s1", 0, 99))
    assert outcome(store.session("s1")) == theirs
    assert outcome(store.touch_session("s1", 1, 99))
    assert outcome(store.end_session("s1", 1, 100))
    ended = outcome(store.session("s1"))
    assert (ended.last_activity, ended.ended_at) == (99, 100)


def test_unknown_sessions_are_neither_claimed_nor_touched(store):
    assert outcome(store.claim("s9", "n1")) is None
    assert not outcome(store.touch_session("s9", 0, 1))
    assert not outcome(store.end_session("s9", 0, 1))


def test_open_sessions_are_listed_by_owner(store):
    for number, owner in ((1, "n1"), (2, "n2"), (3, "n1")):
        outcome(store.save_session(session(id=f"s{number}", owner=owner)))
    outcome(store.end_session("s3", 0, 5))
    assert [each.id for each in outcome(store.open_sessions())] == ["s1", "s2"]
    assert [each.id for each in outcome(store.open_sessions("n1"))] == ["s1"]
    assert outcome(store.open_sessions("")) == []


def test_an_ended_session_can_be_opened_again(store):
    outcome(store.save_session(session()))
    outcome(store.end_session("s1", 0, 9))
    outcome(store.save_session(session(last_activity=10)))
    assert outcome(store.session("s1")).ended_at is None


def test_ended_sessions_are_swept_by_time(store):
    for number in (1, 2, 3):
        outcome(store.save_session(session(id=f"s{number}")))
    outcome(store.end_session("s1", 0, 10))
    outcome(store.end_session("s2", 0, 20))
    assert outcome(store.sweep_sessions(20)) == 1
    assert outcome(store.session("s1")) is None
    assert outcome(store.session("s2")) is not None
    assert outcome(store.session("s3")) is not None


def test_a_session_that_nobody_ended_is_swept_after_its_keep_alive_time(make, url):
    store = make(url, Bounds(ended_for=5))
    outcome(store.save_session(session(keep_alive=60, last_activity=0)))
    assert outcome(store.sweep(60 * US + 5))["abandoned"] == 0
    assert outcome(store.sweep(60 * US + 6))["abandoned"] == 1
    assert outcome(store.session("s1")) is None


def test_ended_sessions_make_room_when_the_table_is_full(make, url):
    store = make(url, Bounds(sessions=2))
    for number in range(4):
        outcome(store.save_session(session(id=f"s{number}", last_activity=10**15)))
    for number in range(3):
        outcome(store.end_session(f"s{number}", 0, 10**15 + number))
    assert outcome(store.sweep(10**15 + 9))["sessions"] == 2
    assert outcome(store.session("s2")) is not None


def test_the_first_registration_is_kept(store):
    assert outcome(store.registration(NEW)) == NEW
    later = replace(NEW, instance="urn:uuid:2", call_id="c2", cseq=7)
    assert outcome(store.registration(later)) == NEW
    outcome(store.save_registration(replace(NEW, cseq=2)))
    assert outcome(store.registration(later)) == replace(NEW, cseq=2)


def test_the_registration_goes_with_its_subscriber(store):
    outcome(store.add_subscribers([subscriber()]))
    outcome(store.registration(NEW))
    assert outcome(store.remove_subscriber(NEW.aor))
    assert outcome(store.counts())["registrations"] == 0


def test_a_registration_of_nobody_is_swept(store):
    outcome(store.add_subscribers([subscriber()]))
    outcome(store.registration(NEW))
    outcome(store.registration(replace(NEW, aor="sip:gone@example.com")))
    assert outcome(store.sweep(0))["registrations"] == 1
    assert outcome(store.counts())["registrations"] == 1
