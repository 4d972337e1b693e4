"""One session: repeats, lost answers, offers and their order (semantics 2 and 4)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.csp.common import Result, Status
from gateway.csp.envelope import Mode, Transaction, Version
from gateway.csp.messaging import GetMessageRequest, MessageDelivered
from gateway.csp.session import (
    KEPT_ANSWERS,
    LAST_ID,
    OFFER_AGAIN,
    OFFER_TIMES,
    REPEAT_WINDOW,
    RETRY_WINDOW,
    Offer,
    Session,
)

NOW = 1_000_000.0
ROOM = 1 << 20
OK = Status(result=Result(code=200))


def session(**changes: Any) -> Session:
    """Make a session of Alice's."""
    fields: dict[str, Any] = {
        "id": "s1",
        "aor": "sip:alice@example.com",
        "user": "wv:alice",
        "client_id": "c",
        "version": Version.V1_2,
    }
    return Session(**fields | changes)


def offer(key: str, size: int = 100) -> Offer:
    """Make an offer whose primitive names it."""
    return Offer(key, lambda: (GetMessageRequest(message_id=key), size))


def keys(transactions: list[Transaction]) -> list[Any]:
    """Tell what was offered."""
    return [t.primitive.message_id for t in transactions]  # type: ignore[attr-defined]


def ids(transactions: list[Transaction]) -> list[str | None]:
    """Tell under which ids."""
    return [t.id for t in transactions]


# -- client requests -------------------------------------------------------------------


def test_a_repeat_gets_the_answer_of_the_first() -> None:
    """The same id and content within ten minutes is the same transaction."""
    one = session()
    answer, repeated = one.begin("7", 1, NOW)
    assert not repeated
    answer.give(OK)
    again, repeated = one.begin("7", 1, NOW + REPEAT_WINDOW - 1)
    assert repeated
    assert again.primitive is OK


@pytest.mark.parametrize(("key", "later"), [(2, 1.0), (1, REPEAT_WINDOW)])
def test_other_content_or_a_long_time_makes_a_new_transaction(
    key: int, later: float
) -> None:
    """Ids wrap at 999, so the id alone makes no repeat."""
    one = session()
    one.begin("7", 1, NOW)[0].give(OK)
    answer, repeated = one.begin("7", key, NOW + later)
    assert not repeated
    assert answer.primitive is None


def test_the_last_answers_are_kept_and_no_more() -> None:
    """A handset that sends ten thousand requests costs thirty-two answers."""
    one = session()
    for number in range(10_000):
        one.begin(str(number), number, NOW)[0].give(OK)
    newest, oldest = 9_999, 10_000 - KEPT_ANSWERS
    assert one.begin(str(newest), newest, NOW)[1]
    assert one.begin(str(oldest), oldest, NOW)[1]
    assert not one.begin(str(oldest - 1), oldest - 1, NOW)[1]


def test_who_repeats_while_the_answer_is_worked_out_is_woken_with_it() -> None:
    """The first request goes on; both exchanges get its answer."""
    one = session()
    answer, _ = one.begin("7", 1, NOW)
    woken: list[Any] = []
    same, repeated = one.begin("7", 1, NOW)
    assert repeated
    same.waiting = [woken.append]
    answer.give(OK)
    assert woken == [OK]


def test_a_lost_answer_is_found_once_by_its_content() -> None:
    """A retry under a new id within sixty seconds gets what was lost."""
    one = session()
    answer, _ = one.begin("7", 1, NOW)
    answer.give(OK)
    one.lose(hash("m1"), answer)
    assert one.may_retry
    content = hash
    assert one.found_again("m2", content, NOW + 1) is None  # type: ignore[arg-type]
    found = one.found_again("m1", content, NOW + 1)  # type: ignore[arg-type]
    assert found is answer
    assert one.found_again("m1", content, NOW + 2) is None  # type: ignore[arg-type]


def test_a_lost_answer_is_forgotten_after_a_minute() -> None:
    """The same words a minute later are a new message."""
    one = session()
    answer, _ = one.begin("7", 1, NOW)
    answer.give(OK)
    one.lose(hash("m1"), answer)
    late = NOW + RETRY_WINDOW
    assert one.found_again("m1", hash, late) is None  # type: ignore[arg-type]
    assert not one.may_retry


def test_an_answer_that_follows_another_is_given_with_it() -> None:
    """Both before and after the other one is there."""
    one = session()
    first, _ = one.begin("1", 1, NOW)
    second, _ = one.begin("2", 2, NOW)
    second.follow(first)
    before = second.primitive
    first.give(OK)
    assert (before, second.primitive) == (None, OK)
    third, _ = one.begin("3", 3, NOW)
    third.follow(first)
    assert third.primitive is OK


# -- offers ----------------------------------------------------------------------------


def test_offers_come_in_order_and_one_by_one() -> None:
    """With room for one, each reply carries the next; the ids count up."""
    one = session()
    for key in "abc":
        assert one.offer(offer(key))
    for number, key in enumerate("abc", 1):
        (transaction,) = one.due(1, ROOM, NOW)
        assert transaction == Transaction(
            id=str(number),
            mode=Mode.REQUEST,
            primitive=GetMessageRequest(message_id=key),
        )
        assert one.waiting == 3 - number
    assert one.due(1, ROOM, NOW) == []


def test_no_room_no_offer() -> None:
    """A reply whose only place is taken by an answer carries nothing else."""
    one = session()
    one.offer(offer("a"))
    assert one.due(0, ROOM, NOW) == []
    assert one.waiting == 1


def test_size_bounds_what_rides_together() -> None:
    """ParserSize holds for the whole reply, but one alone always rides."""
    one = session()
    for key, size in (("a", 400), ("b", 400), ("big", 5000), ("c", 1)):
        one.offer(offer(key, size))
    assert keys(one.due(8, 1000, NOW)) == ["a", "b"]
    assert keys(one.due(8, 1000, NOW, alone=False)) == []
    assert keys(one.due(8, 1000, NOW)) == ["big"]
    assert keys(one.due(8, 1000, NOW, alone=False)) == ["c"]


def test_an_offer_takes_its_form_when_it_is_made() -> None:
    """What is agreed between queueing and offering counts; a repeat stays the same."""
    one = session()
    forms = iter("xyz")
    one.offer(
        Offer("a", lambda: (GetMessageRequest(message_id=next(forms)), 1)),
    )
    assert keys(one.due(1, ROOM, NOW)) == ["x"]
    assert keys(one.due(1, ROOM, NOW + OFFER_AGAIN)) == ["x"]


def test_an_unconfirmed_offer_is_repeated_under_its_id_three_times_in_all() -> None:
    """After thirty seconds each; then it leaves the session for good."""
    one = session()
    one.offer(offer("a"))
    (first,) = one.due(1, ROOM, NOW)
    for times in range(1, OFFER_TIMES):
        at = NOW + times * OFFER_AGAIN
        assert one.due(1, ROOM, at - 0.1) == []
        (again,) = one.due(1, ROOM, at)
        assert again == first
    assert one.due(1, ROOM, NOW + OFFER_TIMES * OFFER_AGAIN) == []
    assert one.open_offers == 0


def test_an_unconfirmed_offer_does_not_block_what_is_behind_it() -> None:
    """The next reply carries the next offer, whether the first was confirmed or not."""
    one = session()
    for key in "abc":
        one.offer(offer(key))
    seen = [keys(one.due(1, ROOM, NOW + second)) for second in range(3)]
    assert seen == [["a"], ["b"], ["c"]]
    repeated = [keys(one.due(1, ROOM, NOW + 40 + second)) for second in range(3)]
    assert repeated == [["a"], ["b"], ["c"]]


def test_a_confirmed_offer_is_never_made_again() -> None:
    """Confirmation is by the id of the transaction."""
    one = session()
    one.offer(offer("a"))
    (made,) = one.due(1, ROOM, NOW)
    taken = one.confirmed(made.id)
    assert taken is not None
    assert taken.key == "a"
    assert one.confirmed(made.id) is None
    assert one.confirmed(None) is None
    assert one.due(1, ROOM, NOW + OFFER_AGAIN) == []


def test_a_confirmation_of_another_thing_settles_nothing() -> None:
    """Some handset answers under a wrong id: the offer of that id must go on."""
    one = session()
    one.offer(offer("a"))
    (made,) = one.due(1, ROOM, NOW)
    assert one.confirmed(made.id, "b") is None
    assert keys(one.due(1, ROOM, NOW + OFFER_AGAIN)) == ["a"]
    assert one.confirmed(made.id, "a") is not None


def test_a_confirmation_that_could_not_be_kept_is_undone() -> None:
    """The offer keeps its id and its count."""
    one = session()
    one.offer(offer("a"))
    (made,) = one.due(1, ROOM, NOW)
    taken = one.confirmed(made.id)
    assert taken is not None
    one.keep(taken)
    (again,) = one.due(1, ROOM, NOW + OFFER_AGAIN)
    assert again.id == made.id
    assert taken.times == 2


def test_a_thing_waits_once_however_often_it_is_queued() -> None:
    one = session()
    for key in ("a", "b", "a"):
        assert one.offer(offer(key))
    assert one.waiting == 2
    assert keys(one.due(5, ROOM, NOW)) == ["a", "b"]


def test_what_was_settled_elsewhere_is_withdrawn() -> None:
    """Made or waiting."""
    one = session()
    for key in "abc":
        one.offer(offer(key))
    one.due(1, ROOM, NOW)
    one.withdraw("a")
    one.withdraw("c")
    one.withdraw("never heard of")
    assert [o.key for o in one.offers()] == ["b"]


def test_a_reply_that_was_never_written_does_not_count() -> None:
    """Its offers wait again, in their order, and have all their tries."""
    one = session()
    for key in "abc":
        one.offer(offer(key))
    lost = one.due(2, ROOM, NOW)
    one.take_back([t.id or "" for t in lost])
    assert keys(one.due(8, ROOM, NOW)) == ["a", "b", "c"]
    assert {o.times for o in one.offers()} == {1}


def test_a_repeat_that_was_never_written_keeps_its_id_and_comes_first() -> None:
    """The handset may still answer what it saw before."""
    one = session()
    one.offer(offer("a"))
    (first,) = one.due(1, ROOM, NOW)
    one.offer(offer("b"))
    lost = one.due(1, ROOM, NOW + OFFER_AGAIN)
    assert lost == [first]
    one.take_back([first.id or ""])
    assert one.due(1, ROOM, NOW + OFFER_AGAIN + 1) == [first]
    assert one.confirmed(first.id) is not None


def test_taking_back_what_is_settled_changes_nothing() -> None:
    """The confirmation came on another connection."""
    one = session()
    one.offer(offer("a"))
    (made,) = one.due(1, ROOM, NOW)
    one.confirmed(made.id)
    one.take_back([made.id or "", "77"])
    assert one.open_offers == 0


def test_the_queue_is_bounded() -> None:
    """Ten thousand offers are refused but for the first few."""
    one = session(queue_limit=20)
    accepted = [one.offer(offer(str(number))) for number in range(10_000)]
    assert accepted.count(True) == 20
    assert all(accepted[:20])
    one.due(8, ROOM, NOW)
    assert not one.offer(offer("made ones count as well"))
    assert one.open_offers == 20


def test_ids_wrap_and_are_not_given_twice() -> None:
    """An id is free again once its offer is settled, and not before."""
    one = session(queue_limit=5_000)
    one.offer(offer("first"))
    (held,) = one.due(1, ROOM, NOW)
    for number in range(2 * LAST_ID):
        one.offer(offer(str(number)))
        (made,) = one.due(1, ROOM, NOW)
        assert made.id is not None
        assert made.id != held.id
        assert 1 <= int(made.id) <= LAST_ID
        one.confirmed(made.id)


def test_with_every_id_taken_nothing_is_lost() -> None:
    """More offers than ids: the rest waits for one to be free."""
    one = session(queue_limit=5_000)
    for number in range(LAST_ID + 5):
        assert one.offer(offer(str(number)))
    made = one.due(5_000, ROOM, NOW)
    assert len({t.id for t in made}) == LAST_ID
    assert one.waiting == 5
    one.confirmed("17")
    (freed,) = one.due(5_000, ROOM, NOW)
    assert freed.id == "17"


def test_a_new_node_does_not_offer_under_the_ids_of_the_old_one() -> None:
    """A late answer to the old node's offer must not settle another message."""
    old, new = session(epoch=4), session(epoch=5)
    made: list[set[str | None]] = []
    for one in (old, new):
        for number in range(255):
            one.offer(offer(str(number)))
        made.append(set(ids(one.due(255, ROOM, NOW))))
    assert made[0].isdisjoint(made[1])


def test_expiry_counts_from_the_last_activity() -> None:
    """KeepAliveTime seconds after the last message of the client."""
    assert session(keep_alive=60, last_activity=NOW).expires_at() == NOW + 60


def test_primitives_with_equal_fields_are_unlike() -> None:
    """The premise of the key of a repeat: the class must be part of it."""
    get, done = GetMessageRequest(message_id="m"), MessageDelivered(message_id="m")
    assert hash((type(get), get)) != hash((type(done), done))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("offer"), st.integers(1, 3000)),
            st.tuples(st.just("due"), st.integers(0, 4)),
            st.tuples(st.just("confirm"), st.integers(0, 20)),
            st.tuples(st.just("lose"), st.integers(0, 4)),
            st.tuples(st.just("wait"), st.integers(0, 40)),
        ),
        max_size=60,
    )
)
def test_whatever_happens_offers_keep_their_promises(
    steps: list[tuple[str, int]],
) -> None:
    """No offer after its confirmation, none more than three times, never over a limit.

    First offers come in the order in which they were queued, whatever is lost.
    """
    one = session(queue_limit=8)
    now, number = NOW, 0
    confirmed: set[str] = set()
    written: dict[str, int] = {}
    open_ids: dict[str, str] = {}
    order: list[int] = []
    for step, value in steps:
        if step == "offer":
            number += 1
            one.offer(offer(str(number), value))
        elif step == "wait":
            now += value
        elif step == "confirm":
            for answered, key in list(open_ids.items())[value : value + 1]:
                if one.confirmed(answered) is not None:
                    confirmed.add(key)
                del open_ids[answered]
        else:
            made = one.due(value, 4000, now)
            assert len(made) <= value
            assert len(set(ids(made))) == len(made)
            if step == "lose":
                one.take_back([t.id or "" for t in made])
                continue
            for transaction_id, key in zip(ids(made), keys(made), strict=True):
                assert key not in confirmed
                assert transaction_id is not None
                written[key] = written.get(key, 0) + 1
                assert written[key] <= OFFER_TIMES
                if written[key] == 1:
                    order.append(int(key))
                open_ids[transaction_id] = key
        assert one.open_offers <= 8
    assert order == sorted(order)
