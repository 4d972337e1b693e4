"""Requests that come again, and replies that get lost (docs/semantics.md 2)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gateway.csp.common import KeepAliveResponse
from gateway.csp.messaging import (
    SendMessageResponse,
)
from gateway.csp.schema import Version
from gateway.igateway import Peer, Reply
from gateway.services.node import Node
from tests.services.doubles import (
    Core,
    Handset,
    queue,
    result_of,
    send_message,
    texts,
)

V1_1, V1_2, V1_3 = Version
KEEP_ALIVE = "<KeepAlive-Request/>"
POLL = "<Polling-Request/>"


@pytest.mark.parametrize("version", Version)
def test_a_repeat_gets_the_same_answer_and_does_nothing(
    node: Node, core: Core, version: Version
) -> None:
    """Same id, same content: one MESSAGE, one MessageID."""
    handset = Handset(node, version=version).open()
    answers = {handset.ask(send_message("hi"), number="7") for _ in range(3)}
    assert len(answers) == 1
    assert len(core.of("MESSAGE")) == 1


def test_a_wrapped_id_is_a_new_transaction(alice: Handset, core: Core) -> None:
    """Same id, other content."""
    first = alice.ask(send_message("one"), number="7")
    second = alice.ask(send_message("two"), number="7")
    assert first.message_id != second.message_id
    assert [m.body for m in core.of("MESSAGE")] == [b"one", b"two"]


def test_a_repeat_after_ten_minutes_is_new(
    alice: Handset, core: Core, clock: Clock
) -> None:
    """And not a moment earlier."""
    for later in (0, 599, 1):
        clock.advance(later)
        alice.ask(send_message("hi"), number="7")
    assert len(core.of("MESSAGE")) == 2


def test_the_same_words_under_another_id_are_another_message(
    alice: Handset, core: Core
) -> None:
    """People say the same thing twice."""
    for _ in range(2):
        alice.ask(send_message("ok"))
    assert len(core.of("MESSAGE")) == 2


def lose(handset: Handset) -> None:
    """Have the last reply get lost on its way."""
    handset.node.sap.unwritten(handset.reply)


def test_a_retry_of_a_lost_answer_gets_that_answer(alice: Handset, core: Core) -> None:
    """Under a new id, once: after that the same words are a new message."""
    first = alice.ask(send_message("hi"))
    lose(alice)
    assert alice.ask(send_message("hi")) == first
    assert len(core.of("MESSAGE")) == 1
    assert alice.ask(send_message("hi")) != first
    assert len(core.of("MESSAGE")) == 2


def test_a_retry_whose_answer_is_lost_too_may_come_again(
    alice: Handset, core: Core
) -> None:
    """However often, within the minute."""
    first = alice.ask(send_message("hi"))
    for _ in range(5):
        lose(alice)
        assert alice.ask(send_message("hi")) == first
    assert len(core.of("MESSAGE")) == 1


def test_a_retry_that_is_repeated_under_its_own_id(alice: Handset, core: Core) -> None:
    """The retry's id is known from then on."""
    first = alice.ask(send_message("hi"))
    lose(alice)
    assert alice.ask(send_message("hi"), number="50") == first
    assert alice.ask(send_message("hi"), number="50") == first
    assert len(core.of("MESSAGE")) == 1


@pytest.mark.parametrize(
    "other", [send_message("ho"), send_message("hi", to="wv:erin@example.com")]
)
def test_other_words_or_another_recipient_are_no_retry(
    alice: Handset, core: Core, other: str
) -> None:
    """Content and recipient count."""
    alice.ask(send_message("hi"))
    lose(alice)
    alice.ask(other)
    assert len(core.of("MESSAGE")) == 2


def test_a_retry_after_a_minute_is_a_new_message(
    alice: Handset, core: Core, clock: Clock
) -> None:
    """Sixty seconds from the first."""
    alice.ask(send_message("hi"))
    lose(alice)
    clock.advance(60)
    alice.ask(send_message("hi"))
    assert len(core.of("MESSAGE")) == 2


def silent(core: Core) -> list[Any]:
    """Have the core answer no MESSAGE until it is told to."""
    held: list[Any] = []

    def script(request: Any) -> int | None:
        if request.method != "MESSAGE":
            return 200
        held.append(request)
        return None

    core.script = script
    return held


def post(handset: Handset, number: str) -> tuple[Peer, Deferred[Reply], list[Any]]:
    """Send "hi" on a connection of its own; the replies gather in the list."""
    peer = Peer("192.0.2.1", 40001)
    body = handset.body(handset.transaction(send_message("hi"), number=number))
    d = Deferred.fromCoroutine(
        handset.node.sap.exchange(handset.content_type, body, peer)
    )
    replies: list[Any] = []
    d.addCallback(replies.append)
    return peer, d, replies


@pytest.mark.parametrize("again", ["8", "9"])
def test_a_retry_while_the_first_is_worked_out_joins_it(
    alice: Handset, core: Core, again: str
) -> None:
    """Under the same id always, under a new one when the first connection is gone."""
    held = silent(core)
    peer, _, first = post(alice, "8")
    peer.gone = True
    _, _, second = post(alice, again)
    assert len(held) == 1
    core.receive(held[0].response(200, tag="x"))
    for replies, number in ((first, "8"), (second, again)):
        (reply,) = replies
        message = alice.read(reply)
        assert message is not None
        (transaction,) = message.transactions
        assert transaction.id == number
        assert isinstance(transaction.primitive, SendMessageResponse)


def test_the_same_words_on_two_living_connections_are_two_messages(
    alice: Handset, core: Core
) -> None:
    """Nobody gave up: the second waits for its turn and goes out."""
    held = silent(core)
    post(alice, "8")
    post(alice, "9")
    core.receive(held[0].response(200, tag="x"))
    assert len(held) == 2
    core.receive(held[1].response(200, tag="y"))


def test_retries_of_retries_all_end_with_the_one_answer(
    alice: Handset, core: Core
) -> None:
    """A handset on a bad line: three connections, each gone before its reply."""
    held = silent(core)
    posts = []
    for number in ("8", "9", "10", "11"):
        posts.append(post(alice, number))
        posts[-1][0].gone = True
    core.receive(held[0].response(200, tag="x"))
    assert len(held) == 1
    for _, _, (reply,) in posts:
        alice.node.sap.unwritten(reply)
    answer = alice.ask(send_message("hi"))
    assert isinstance(answer, SendMessageResponse)
    assert len(held) == 1


def test_offers_of_a_lost_reply_come_again_at_once(alice: Handset, core: Core) -> None:
    """In their order, and they do not count as tries."""
    queue(core, "one", "two")
    for _ in range(10):
        assert texts(alice.poll()) == ["one"]
        lose(alice)
    assert texts(alice.poll()) == ["one"]
    assert texts(alice.poll()) == ["two"]


def test_a_lost_empty_reply_is_nothing(node: Node) -> None:
    """Nor is the loss of what was said outside of a session."""
    handset = Handset(node)
    handset.login()
    lose(handset)
    node.sap.unwritten(Reply())


# -- sessions that end while something is worked out -----------------------------------


@pytest.mark.parametrize("ending", ["logout", "another login", "expiry"])
def test_who_is_gone_by_the_time_of_the_answer_still_gets_it(
    alice: Handset, core: Core, clock: Clock, ending: str
) -> None:
    """A lost session cancels nothing that was begun; nothing else rides along."""
    held = silent(core)
    _, _, replies = post(alice, "8")
    queue(core, "for later")
    if ending == "logout":
        alice.ask("<Logout-Request/>")
    elif ending == "another login":
        Handset(alice.node).open()
    else:
        (session,) = alice.node.sessions.of("sip:alice@example.com")
        result_of(alice.node.sessions.close(session, 600))
    core.receive(held[0].response(200, tag="x"))
    message = alice.read(replies[0])
    assert message is not None
    assert message.poll is False
    (transaction,) = message.transactions
    assert isinstance(transaction.primitive, SendMessageResponse)
    assert transaction.primitive.result.code == 200


def test_logout_beside_other_requests(alice: Handset, core: Core) -> None:
    """All of them are answered, in their order."""
    message = alice.post(
        alice.transaction(send_message("one")),
        alice.transaction("<Logout-Request/>"),
        alice.transaction(send_message("two")),
    )
    assert message is not None
    codes = [t.primitive.result.code for t in message.transactions]  # type: ignore[attr-defined]
    assert codes == [200, 200, 200]
    assert alice.code("<KeepAlive-Request/>") == 604


def test_the_same_request_twice_in_one_message(alice: Handset, core: Core) -> None:
    """The second is a repeat of the first, which is still being worked out."""
    held = silent(core)
    request = alice.transaction(send_message("hi"), number="8")
    replies: list[Any] = []
    alice.begin(alice.body(request, request)).addCallback(replies.append)
    assert len(held) == 1
    core.receive(held[0].response(202, tag="x"))
    message = alice.read(replies[0])
    assert message is not None
    first, second = message.transactions
    assert first == second


def test_many_logins_in_one_message_leave_one_session(node: Node, core: Core) -> None:
    """Each replaces the one before; one REGISTER is enough for all."""
    handset = Handset(node)
    login = (
        f"<Login-Request><UserID>wv:alice</UserID>{handset.client_id}"
        "<Password>alice-secret</Password><SessionCookie>c</SessionCookie>"
        "</Login-Request>"
    )
    message = handset.post(*(handset.transaction(login) for _ in range(64)))
    assert message is not None
    ids = [t.primitive.session_id for t in message.transactions]  # type: ignore[attr-defined]
    assert len(set(ids)) == 64
    assert len(node.sessions) == 1
    handset.session = ids[-1]
    assert isinstance(handset.ask("<KeepAlive-Request/>"), KeepAliveResponse)
    assert len(core.of("REGISTER")) == 1


def test_a_reply_that_was_lost_after_its_offer_was_confirmed(
    alice: Handset, core: Core, clock: Clock
) -> None:
    """The confirmation on another connection counts."""
    queue(core, "hello")
    (offer,) = alice.poll()
    lost = alice.reply
    alice.confirm(offer)
    alice.node.sap.unwritten(lost)
    clock.advance(31)
    assert alice.poll() == []
