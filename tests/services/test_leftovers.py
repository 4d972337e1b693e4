"""What is left when others are done: lost answers, queues of others, old sessions."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.csp.common import KeepAliveRequest
from gateway.csp.schema import Version
from gateway.csp.session import KEPT_ANSWERS, Answer, Session
from gateway.errors import Unreachable
from tests.services.doubles import (
    Handset,
    message_to,
    queue,
    result_of,
    send_message,
    texts,
)


@pytest.fixture
def session() -> Session:
    return Session(
        id="s",
        aor="sip:alice@example.com",
        user="wv:alice@example.com",
        client_id="c",
        version=Version.V1_2,
    )


def alike(request: object) -> int:
    return 5


def in_flight(session: Session) -> Answer:
    """Begin a request whose connection is gone while it is worked on."""
    answer, _ = session.begin("1", 7, 0.0)
    answer.request, answer.abandoned = KeepAliveRequest(), lambda: True
    return answer


def test_a_request_in_flight_is_found_again_once(session):
    """The same words a second time are another message."""
    answer = in_flight(session)
    assert session.found_again(KeepAliveRequest(), alike, 1.0) is answer
    assert session.found_again(KeepAliveRequest(), alike, 1.0) is None


def test_an_answer_that_a_retry_has_had_is_not_lost(session):
    """Its own reply cannot be written; that is no matter any more."""
    answer = in_flight(session)
    assert session.found_again(KeepAliveRequest(), alike, 1.0) is answer
    answer.give(KeepAliveRequest())
    session.lose(5, answer)
    assert not session.may_retry


def test_few_lost_answers_are_kept(session):
    """The oldest are forgotten first."""
    for number in range(KEPT_ANSWERS + 1):
        session.lose(number, Answer(number, 0.0))
    found = [
        session.found_again(KeepAliveRequest(), lambda _, n=n: n, 1.0)
        for n in range(KEPT_ANSWERS + 1)
    ]
    assert [answer is None for answer in found] == [True] + [False] * KEPT_ANSWERS


def test_what_is_kept_of_a_session_is_kept_for_a_day_at_most(clock, make):
    """However long its KeepAliveTime, and before it is swept."""
    node = make(session={"keep_alive_min": 36_000, "retention": 5})
    for _, loop in node._loops:
        loop.stop()
    handset = Handset(node).open()
    name = handset.session
    assert name is not None
    handset.ask("<Logout-Request/>")
    clock.advance(86_400 - 60)
    assert result_of(node.sessions.ended(name)) is not None
    clock.advance(120)
    assert result_of(node.sessions.ended(name)) is None


def test_a_queue_is_filled_again_when_half_of_it_is_free(core, make, monkeypatch):
    """And not by a read of the store for each confirmation."""
    node = make(session={"queue": 4})
    handset = Handset(node).open()
    queue(core, *"12345678")
    reads: list[Any] = []
    pages = node.store.messages

    def counted(*args: Any) -> Any:
        reads.append(args)
        return pages(*args)

    monkeypatch.setattr(node.store, "messages", counted)
    [offer] = handset.poll()
    reply = handset.confirm(offer)
    assert reply is not None and reads == []
    handset.confirm(reply.transactions[0])
    assert len(reads) >= 1


def test_what_went_to_another_session_alone_is_offered_when_that_ends(core, make):
    """Though this one has gone on with later messages, and has no room for all."""
    node = make(session={"queue": 2})
    low, high = (
        Handset(node, version=Version.V1_3, client=f"http://h/{n}").open(
            extra=f"<SessionPriority>{n}</SessionPriority>"
        )
        for n in (5, 9)
    )
    queue(core, "for the other")
    high.negotiate(extra="<SessionPriority>1</SessionPriority>")
    queue(core, "a", "b", "c")
    high.ask("<Logout-Request/>")
    seen: list[str | None] = []
    offers = low.poll()
    while offers:
        seen += texts(offers[:1])
        reply = low.confirm(offers[0])
        offers = list(reply.transactions) if reply is not None else low.poll()
    assert sorted(map(str, seen)) == ["a", "b", "c", "for the other"]


def test_what_is_on_offer_is_not_offered_anew_when_another_session_ends(core, node):
    """It is not read from the store a second time."""
    one, other = (Handset(node, client=f"http://h/{n}").open() for n in range(2))
    queue(core, "x")
    assert texts(one.poll()) == ["x"]
    other.ask("<Logout-Request/>")
    assert one.poll() == []


def test_an_open_session_has_room_for_its_whole_queue(core, make):
    """Though fewer messages are kept for users who are away."""
    node = make(session={"queue": 5}, offline={"max_messages": 2})
    Handset(node).open()
    queue(core, *"abcde")
    response = core.ask(message_to("alice", "f"))
    assert response is not None and response.status == 480


def test_a_line_whose_message_was_not_kept_is_free_again(
    clock, core, alice, monkeypatch
):
    """The sender heard 503; the next one goes to the core at once."""
    core.script = lambda r: None if r.method == "MESSAGE" else 200

    async def away(message: Any, limits: Any = None) -> None:
        raise Unreachable("the store is down")

    monkeypatch.setattr(alice.node.store, "add_message", away)
    alice.begin(alice.body(alice.transaction(send_message("x"))))
    clock.pump([1.0] * 9)
    assert len(alice.node.outbox) == 0
