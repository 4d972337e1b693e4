"""Messages: commit, quota, repeats, order, and exactly one final state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.store import Added, Duplicate, Full, Limits
from gateway.store.messages import storable
from gateway.store.upkeep import Bounds
from tests.store.doubles import message, outcome

ALICE = "sip:alice@example.com"


def test_a_message_is_read_back_as_it_was_given(store):
    given = message(
        subject="Grüße",
        sender="wv:bøb@example.com",
        content=bytes(range(256)),
        headers={"X-A": "1", "ü": "\0"},
        delivery_report=True,
        answer=202,
        inbound_key="call\x001 cseq tag",
        direction="to_sip",
    )
    assert outcome(store.add_message(given)) == Added()
    assert outcome(store.message("m1")) == replace(given, inbound_key=None)
    assert outcome(store.message("m2")) is None


def test_the_same_id_again_is_added_once(store):
    assert outcome(store.add_message(message())) == Added()
    assert outcome(store.add_message(message(content=b"other"))) == Added()
    assert outcome(store.message("m1")).content == b"hello"


def test_a_known_inbound_key_gets_the_first_answer(store):
    first = message(1, inbound_key="call 1 tag alice", answer=202)
    again = message(2, inbound_key="call 1 tag alice", answer=200)
    assert outcome(store.add_message(first)) == Added()
    assert outcome(store.add_message(again)) == Duplicate(202, "m1")
    assert outcome(store.message("m2")) is None


def test_a_finished_message_still_tells_its_repeats(store):
    outcome(store.add_message(message(1, inbound_key="k", answer=202)))
    assert outcome(store.finish_message("m1", "delivered"))
    found = outcome(store.add_message(message(2, inbound_key="k")))
    assert found == Duplicate(202, "m1")


def test_a_full_box_takes_no_more_messages(store):
    limits = Limits(max_messages=2, max_bytes=100)
    for number in (1, 2):
        assert outcome(store.add_message(message(number), limits)) == Added()
    assert outcome(store.add_message(message(3), limits)) == Full()
    # Neither other boxes nor what goes out count.
    other = message(4, recipient="sip:carol@example.com")
    assert outcome(store.add_message(other, limits)) == Added()
    assert outcome(store.finish_message("m1", "delivered"))
    assert outcome(store.add_message(message(3), limits)) == Added()


def test_a_full_box_takes_no_more_bytes(store):
    limits = Limits(max_messages=10, max_bytes=12)
    for number in (1, 2):
        assert outcome(store.add_message(message(number), limits)) == Added()
    assert outcome(store.add_message(message(3), limits)) == Full()
    assert outcome(store.add_message(message(4, content=b"ab"), limits)) == Added()
    assert outcome(store.add_message(message(5, content=b"a"), limits)) == Full()


def test_outgoing_messages_fill_no_box(store):
    limits = Limits(max_messages=1, max_bytes=5)
    outcome(store.add_message(message(1, direction="to_sip")))
    assert outcome(store.add_message(message(2), limits)) == Added()


def test_a_repeat_is_no_matter_of_the_quota(store):
    limits = Limits(max_messages=1, max_bytes=100)
    outcome(store.add_message(message(1, inbound_key="k", answer=202), limits))
    again = message(2, inbound_key="k")
    assert outcome(store.add_message(again, limits)) == Duplicate(202, "m1")
    assert outcome(store.add_message(message(1), limits)) == Added()


def test_no_storage_stores_nothing(store):
    limits = Limits(max_messages=0, max_bytes=0)
    assert outcome(store.add_message(message(), limits)) == Full()


def test_the_whole_table_has_a_limit(make, url):
    store = make(url, Bounds(messages=2))
    for number in (1, 2):
        assert outcome(store.add_message(message(number))) == Added()
    assert outcome(store.add_message(message(3))) == Full()
    outcome(store.finish_message("m1", "delivered"))
    assert outcome(store.add_message(message(3))) == Added()


def test_waiting_messages_come_in_order_and_in_pages(store):
    for number in (3, 1, 2):
        outcome(store.add_message(message(number, accepted_at=number // 2)))
    outcome(store.add_message(message(9, recipient="sip:carol@example.com")))
    outcome(store.add_message(message(8, direction="to_sip")))
    page = outcome(store.messages(ALICE, limit=2))
    assert [each.id for each in page] == ["m1", "m2"]
    rest = outcome(store.messages(ALICE, (page[-1].accepted_at, page[-1].id)))
    assert [each.id for each in rest] == ["m3"]
    assert [each.id for each in outcome(store.waiting_to_sip())] == ["m8"]


def test_the_first_final_state_wins_and_drops_the_content(store):
    outcome(store.add_message(message(headers={"a": "b"})))
    assert outcome(store.finish_message("m1", "failed", "core gone\0")) is True
    assert outcome(store.finish_message("m1", "delivered")) is False
    found = outcome(store.message("m1"))
    assert (found.state, found.reason) == ("failed", "core gone\ufffd")
    assert (found.content, found.headers) == (b"", {})
    assert outcome(store.messages(ALICE)) == []
    assert outcome(store.finish_message("nobody's", "delivered")) is False


def test_expired_messages_are_returned_once_with_their_content(store):
    for number in (1, 2, 3):
        outcome(store.add_message(message(number, expires_at=number * 100)))
    past = outcome(store.expire_messages(200))
    assert [(each.id, each.content) for each in past] == [
        ("m1", b"hello"),
        ("m2", b"hello"),
    ]
    assert outcome(store.message("m1")).state == "expired"
    assert outcome(store.expire_messages(200)) == []
    assert [each.id for each in outcome(store.messages(ALICE))] == ["m3"]


def test_finished_messages_are_forgotten_after_their_time(make, url, now):
    store = make(url, Bounds(finished_for=50))
    for number in (1, 2):
        outcome(store.add_message(message(number)))
    outcome(store.finish_message("m1", "delivered"))
    assert outcome(store.sweep(now.us + 50))["messages"] == 0
    assert outcome(store.sweep(now.us + 51))["messages"] == 1
    assert outcome(store.message("m1")) is None
    assert outcome(store.message("m2")) is not None


def test_finished_messages_make_room_when_the_table_is_full(make, url, now):
    store = make(url, Bounds(messages=3))
    for number in range(5):
        outcome(store.add_message(message(number)))
        now.us = 1000 + number
        outcome(store.finish_message(f"m{number}", "delivered"))
    assert outcome(store.sweep(now.us))["messages"] == 2
    assert outcome(store.message("m1")) is None
    assert outcome(store.message("m2")) is not None


@pytest.mark.parametrize(
    ("text", "stored"),
    [("plain", "plain"), ("a\0b", "a\ufffdb"), ("\ud800x", "?x"), ("ü\0", "ü\ufffd")],
)
def test_what_a_database_text_cannot_hold_is_replaced(text, stored):
    assert storable(text) == stored
