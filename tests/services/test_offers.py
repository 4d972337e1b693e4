"""Offers to handsets until they are confirmed (docs/semantics.md 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from gateway.csp.schema import Version
from gateway.services.node import Node
from tests.services.doubles import (
    Core,
    Handset,
    delivered,
    message_id_of,
    queue,
    result_of,
    status,
    texts,
)

V1_1, V1_2, V1_3 = Version
KEEP_ALIVE = "<KeepAlive-Request/>"
POLL = "<Polling-Request/>"


def test_an_offer_is_repeated_after_thirty_seconds_three_times_in_all(
    alice: Handset, core: Core, clock: Clock
) -> None:
    """Under the same id; then it waits in the store for the next login."""
    queue(core, "hello")
    (first,) = alice.poll()
    assert alice.poll() == []
    for _ in range(2):
        clock.advance(29)
        assert alice.poll() == []
        clock.advance(1)
        assert alice.poll() == [first]
    clock.advance(100)
    assert alice.poll() == []
    alice.ask("<Logout-Request/>")
    again = Handset(alice.node).open()
    (offer,) = again.poll()
    assert texts([offer]) == ["hello"]
    again.confirm(offer)
    clock.advance(31)
    assert again.poll() == []


def test_an_unanswered_offer_does_not_hold_up_the_next(
    alice: Handset, core: Core
) -> None:
    """It leaves the window with the next POST."""
    queue(core, "one", "two")
    assert texts(alice.poll()) == ["one"]
    assert texts(alice.poll()) == ["two"]


@pytest.mark.parametrize("code", [200, 201])
def test_status_confirms_a_new_message_too(
    alice: Handset, core: Core, clock: Clock, code: int
) -> None:
    """Some clients answer so."""
    queue(core, "hello")
    (offer,) = alice.poll()
    alice.answer(offer, status(code))
    clock.advance(31)
    assert alice.poll() == []
    assert result_of(alice.node.store.messages("sip:alice@example.com")) == []


def test_a_status_of_failure_confirms_nothing(alice: Handset, core: Core) -> None:
    """The message stays for the next login."""
    queue(core, "hello")
    (offer,) = alice.poll()
    alice.answer(offer, status(500))
    assert len(result_of(alice.node.store.messages("sip:alice@example.com"))) == 1


def test_a_confirmation_under_a_wrong_id_counts_by_its_message(
    alice: Handset, core: Core, clock: Clock
) -> None:
    """And does not settle the message whose id it used."""
    queue(core, "one", "two")
    (first,), (second,) = alice.poll(), alice.poll()
    alice.post(
        alice.transaction(delivered(message_id_of(first)), "Response", second.id)
    )
    clock.advance(31)
    assert alice.poll() == [second]


@pytest.mark.parametrize("number", ["1", "999", "nonsense", None])
@pytest.mark.parametrize("content", [delivered("no-such-id"), "<NoSuchThing/>"])
def test_a_confirmation_of_nothing_is_ignored(
    alice: Handset, core: Core, clock: Clock, number: str | None, content: str
) -> None:
    """It is not answered, and the message still waits in the store."""
    queue(core, "hello")
    (offer,) = alice.poll()
    assert offer.id == "1"
    assert alice.post(alice.transaction(content, "Response", number)) is None
    assert len(result_of(alice.node.store.messages("sip:alice@example.com"))) == 1


def test_nobody_confirms_or_reads_what_is_anothers(
    node: Node, alice: Handset, core: Core
) -> None:
    """A MessageID of Alice's is as good as unknown to Bob."""
    queue(core, "for Alice")
    (offer,) = alice.poll()
    bob = Handset(node, user="wv:bob@example.com", client="http://b").open()
    identified = f"<MessageID>{message_id_of(offer)}</MessageID>"
    assert bob.code(f"<GetMessage-Request>{identified}</GetMessage-Request>") == 426
    assert bob.code(delivered(message_id_of(offer))) == 426
    bob.post(bob.transaction(delivered(message_id_of(offer)), "Response", offer.id))
    assert len(result_of(node.store.messages("sip:alice@example.com"))) == 1


def test_several_sessions_get_a_message_and_the_first_confirms_for_all(
    node: Node, core: Core, clock: Clock
) -> None:
    """Of equal priority, all of them."""
    both = [Handset(node, client=f"http://h/{n}").open() for n in range(2)]
    queue(core, "one", "two")
    (offer,), (same,) = both[0].poll(), both[1].poll()
    assert texts([offer]) == texts([same]) == ["one"]
    both[0].confirm(offer)
    clock.advance(31)
    assert texts(both[1].poll()) == ["two"]
    assert texts(both[0].poll()) == ["two"]


def test_messages_go_to_the_sessions_of_the_highest_priority(
    node: Node, core: Core
) -> None:
    """And to the others once it has ended."""
    low, high = (
        Handset(node, client=f"http://h/{n}", version=V1_3).open(
            extra=f"<SessionPriority>{n}</SessionPriority>"
        )
        for n in (1, 9)
    )
    queue(core, "hello")
    assert low.poll() == []
    assert texts(high.poll()) == ["hello"]
    high.ask("<Logout-Request/>")
    assert texts(low.poll()) == ["hello"]


def test_ten_thousand_messages_cost_a_bounded_queue_and_none_is_forgotten(
    make: Callable[..., Node], core: Core
) -> None:
    """What the queue has no room for is read on from the store, in order, each once."""
    node = make(
        session={"queue": 10}, offline={"max_messages": 10_000, "max_bytes": "100MiB"}
    )
    handset = Handset(node).open(multi=4)
    sent = [str(number) for number in range(137)]
    queue(core, *sent)
    (session,) = node.sessions.of("sip:alice@example.com")
    assert session.open_offers == 10
    seen = []
    waiting = handset.poll()
    while waiting:
        offer = waiting.pop(0)
        seen += texts([offer])
        assert session.open_offers <= 10
        message = handset.confirm(offer)
        waiting += message.transactions if message is not None else ()
        if len(seen) == 50:
            sent += ["late 1", "late 2"]
            queue(core, "late 1", "late 2")
    assert seen == sent


def test_a_queue_of_notifications_is_read_on_as_well(
    make: Callable[..., Node], core: Core
) -> None:
    """Status takes them from the queue while they stay in the store: each once."""
    node = make(session={"queue": 5})
    handset = Handset(node).open(method="N")
    queue(core, *map(str, range(23)))
    seen = []
    waiting = handset.poll()
    while waiting:
        offer = waiting.pop(0)
        seen.append(message_id_of(offer))
        message = handset.answer(offer, status())
        waiting += message.transactions if message is not None else ()
    assert len(seen) == len(set(seen)) == 23
