"""The exchange on the data channel: what is answered, what rides along, what repeats.

Rules: transport binding 1.3 chapter 7.2, docs/semantics.md 2 and 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gateway.csp import xmlsyntax
from gateway.csp.catalogue import PRIMITIVES
from gateway.csp.common import Disconnect, KeepAliveResponse, Status
from gateway.csp.envelope import Message, Mode, Transaction
from gateway.csp.messaging import (
    GetMessageResponse,
    MessageNotification,
    NewMessage,
    SendMessageResponse,
)
from gateway.csp.schema import Version
from gateway.errors import Malformed, Unreachable, UnsupportedMedia
from gateway.igateway import Peer, Reply
from gateway.services.node import Node
from tests.csp.strategies import messages
from tests.services.doubles import (
    Core,
    Handset,
    delivered,
    message_to,
    primitives,
    result_of,
    send_message,
    status,
)

V1_1, V1_2, V1_3 = Version
KEEP_ALIVE = "<KeepAlive-Request/>"
POLL = "<Polling-Request/>"


def queue(core: Core, *texts: str) -> None:
    """Have messages come for Alice."""
    for text in texts:
        response = core.ask(message_to("alice", text))
        assert response is not None
        assert response.status == 200


def texts(transactions: Any) -> list[Any]:
    """Tell which texts were pushed."""
    return [
        t.primitive.content_data
        for t in transactions
        if isinstance(t.primitive, NewMessage)
    ]


# -- the exchange ----------------------------------------------------------------------


@pytest.mark.requirement("T-7.2-08")
def test_a_poll_with_nothing_to_give_is_answered_by_nothing(alice: Handset) -> None:
    """200 and an empty body."""
    assert alice.poll() == []
    assert alice.reply == Reply()


@pytest.mark.requirement("T-7.2-07")
@pytest.mark.parametrize("number", ["9", None])
@pytest.mark.parametrize("version", Version)
def test_a_poll_is_answered_with_what_waits(
    node: Node, core: Core, version: Version, number: str | None
) -> None:
    """With or without a TransactionID: some clients leave it out of a poll."""
    handset = Handset(node, version=version).open()
    queue(core, "hello")
    message = handset.post(handset.transaction(POLL, number=number))
    assert message is not None
    assert texts(message.transactions) == ["hello"]


@pytest.mark.requirement("T-7.2-02", "T-7.2-05")
@pytest.mark.parametrize("version", Version)
def test_an_offer_and_an_answer_are_matched_by_id_and_not_by_post(
    node: Node, core: Core, version: Version
) -> None:
    """A client response and a request share a POST, an offer rides with its answer."""
    handset = Handset(node, version=version).open(multi=2)
    queue(core, "one", "two")
    (first, second) = handset.poll()
    message = handset.post(
        handset.transaction(delivered(_id(second)), "Response", second.id),
        handset.transaction(KEEP_ALIVE, number="abc"),
        handset.transaction(delivered(_id(first)), "Response", first.id),
    )
    assert message is not None
    (answer,) = message.transactions
    assert (answer.id, answer.mode) == ("abc", Mode.RESPONSE)
    assert isinstance(answer.primitive, KeepAliveResponse)
    queue(core, "three")
    message = handset.post(handset.transaction(KEEP_ALIVE))
    assert message is not None
    assert [t.mode for t in message.transactions] == [Mode.RESPONSE, Mode.REQUEST]
    assert texts(message.transactions) == ["three"]


def _id(offer: Transaction) -> str:
    primitive: Any = offer.primitive
    found: str = primitive.message_info.message_id
    return found


@pytest.mark.requirement("T-7.2-05", "T-7.2-06", "T-7.2-09")
@pytest.mark.parametrize("version", Version)
def test_without_multi_trans_offers_come_one_by_one_and_poll_counts_them(
    node: Node, core: Core, version: Version
) -> None:
    """Three events: Poll T, T, F; a reply with an answer carries no event."""
    handset = Handset(node, version=version).open(multi=None)
    queue(core, "one", "two", "three")
    message = handset.post(handset.transaction(KEEP_ALIVE))
    assert message is not None
    assert len(message.transactions) == 1
    assert message.poll is True
    seen = []
    for _ in range(3):
        message = handset.post(handset.transaction(POLL))
        assert message is not None
        seen.append((*texts(message.transactions), message.poll))
    assert seen == [("one", True), ("two", True), ("three", False)]
    assert handset.poll() == []


@pytest.mark.requirement("T-7.2-03", "T-7.2-04")
@pytest.mark.parametrize("version", Version)
def test_with_multi_trans_several_ride_both_ways(
    node: Node, core: Core, version: Version
) -> None:
    """Two requests in a POST are both answered; queued events come together."""
    handset = Handset(node, version=version).open(multi=4)
    queue(core, "one", "two", "three")
    message = handset.post(
        handset.transaction(send_message("hi"), number="1"),
        handset.transaction(KEEP_ALIVE, number="2"),
    )
    assert message is not None
    assert [(t.id, t.mode) for t in message.transactions[:2]] == [
        ("1", Mode.RESPONSE),
        ("2", Mode.RESPONSE),
    ]
    assert texts(message.transactions) == ["one", "two"]
    assert message.poll is True
    assert len(core.of("MESSAGE")) == 1
    message = handset.post(handset.transaction(POLL))
    assert message is not None
    assert texts(message.transactions) == ["three"]
    assert message.poll is False


def test_before_negotiation_nothing_rides_along(node: Node, core: Core) -> None:
    """What the handset can take is not known yet; who polls takes one."""
    handset = Handset(node)
    handset.login()
    queue(core, "one", "two")
    message = handset.post(handset.transaction(KEEP_ALIVE))
    assert message is not None
    assert (len(message.transactions), message.poll) == (1, False)
    assert texts(handset.poll()) == ["one"]


def test_more_requests_than_agreed_are_answered_all_the_same(alice: Handset) -> None:
    """Every client request is answered in its own POST, and nothing else rides."""
    message = alice.post(*(alice.transaction(KEEP_ALIVE) for _ in range(20)))
    assert message is not None
    assert len(message.transactions) == 20


@pytest.mark.requirement("T-7.2-11")
@pytest.mark.parametrize("version", Version)
def test_the_notify_and_pull_flow(node: Node, core: Core, version: Version) -> None:
    """Notification, Status (empty reply), GetMessage, MessageDelivered, Status."""
    handset = Handset(node, version=version).open(method="N")
    queue(core, "pull me")
    (offer,) = handset.poll()
    assert isinstance(offer.primitive, MessageNotification)
    assert handset.answer(offer, status()) is None
    assert handset.reply == Reply()
    message_id = _id(offer)
    get = (
        f"<GetMessage-Request><MessageID>{message_id}</MessageID></GetMessage-Request>"
    )
    response = handset.ask(get)
    assert isinstance(response, GetMessageResponse)
    assert response.content_data == "pull me"
    assert handset.code(delivered(message_id)) == 200
    assert handset.code(get) == 426
    assert handset.poll() == []


def test_get_message_and_its_confirmation_may_have_one_id(
    node: Node, core: Core
) -> None:
    """Of equal content but for the name, they are no repeats of each other."""
    handset = Handset(node).open(method="N")
    queue(core, "pull me")
    (offer,) = handset.poll()
    handset.answer(offer, status())
    identified = f"<MessageID>{_id(offer)}</MessageID>"
    get = f"<GetMessage-Request>{identified}</GetMessage-Request>"
    assert isinstance(handset.ask(get, number="1"), GetMessageResponse)
    assert isinstance(handset.ask(delivered(_id(offer)), number="1"), Status)


# -- offers that are not confirmed -----------------------------------------------------


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
    alice.post(alice.transaction(delivered(_id(first)), "Response", second.id))
    clock.advance(31)
    assert alice.poll() == [second]


@pytest.mark.parametrize("number", ["1", "999", "nonsense", None])
def test_a_confirmation_of_nothing_is_ignored(
    alice: Handset, core: Core, number: str | None
) -> None:
    """Nothing is answered, nothing is settled."""
    queue(core, "hello")
    assert (
        alice.post(alice.transaction(delivered("no-such-id"), "Response", number))
        is not None
    )
    assert alice.post(alice.transaction(status(), "Response", number)) is None or (
        number != "1"
    )


def test_nobody_confirms_or_reads_what_is_anothers(
    node: Node, alice: Handset, core: Core
) -> None:
    """A MessageID of Alice's is as good as unknown to Bob."""
    queue(core, "for Alice")
    (offer,) = alice.poll()
    bob = Handset(node, user="wv:bob@example.com", client="http://b").open()
    identified = f"<MessageID>{_id(offer)}</MessageID>"
    assert bob.code(f"<GetMessage-Request>{identified}</GetMessage-Request>") == 426
    assert bob.code(delivered(_id(offer))) == 426
    bob.post(bob.transaction(delivered(_id(offer)), "Response", offer.id))
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
        seen.append(_id(offer))
        message = handset.answer(offer, status())
        waiting += message.transactions if message is not None else ()
    assert len(seen) == len(set(seen)) == 23


# -- repeats and lost replies ----------------------------------------------------------


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


# -- what is wrong ---------------------------------------------------------------------


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("<NoSuchThing-Request/>", 501),
        ("<SendMessage-Request/>", 400),
        ("<GetMessage-Request><MessageID/></GetMessage-Request>", 426),
        ("<KeepAlive-Request><TimeToLive>soon</TimeToLive></KeepAlive-Request>", 402),
        ("", 400),
        ("<CreateGroup-Request/>", None),
        ("<Login-Request/>", None),
        ("<Disconnect><Result><Code>200</Code></Result></Disconnect>", 405),
        ("<NewMessage/>", None),
    ],
)
def test_what_cannot_be_obeyed_is_answered_with_a_status(
    node: Node, version: Version, content: str, code: int | None
) -> None:
    """One Status for one request, and the session goes on."""
    handset = Handset(node, version=version).open()
    answer = handset.ask(content)
    assert isinstance(answer, Status)
    assert answer.result.code == code or code is None
    assert answer.result.code >= 400
    assert not isinstance(handset.ask(KEEP_ALIVE), Status)


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize(
    "content", [KEEP_ALIVE, POLL, "<Logout-Request/>", send_message("hi")]
)
def test_without_a_session_there_is_nothing_to_be_had(
    node: Node, core: Core, version: Version, content: str
) -> None:
    """604, Outband and with a SessionID that nobody knows."""
    handset = Handset(node, version=version)
    assert handset.code(content) == 604
    for unknown in ("A" * 22, "x", "A" * 5000, "'; DROP TABLE sessions"):
        handset.session = unknown
        assert handset.code(content) == 604
    assert core.requests == []


def test_a_session_is_nobody_elses(node: Node, alice: Handset) -> None:
    """SessionIDs compare by case: a guess that is nearly right is wrong."""
    assert alice.session is not None
    other = Handset(node, session=alice.session.swapcase())
    assert other.code(KEEP_ALIVE) == 604


@pytest.mark.parametrize("version", Version)
def test_an_unknown_version_is_refused(node: Node, version: Version) -> None:
    """505, outside and inside of a session."""
    handset = Handset(node, version=version).open()
    for session in (handset.session, None):
        handset.session = session
        body = handset.body(handset.transaction(KEEP_ALIVE)).replace(b"1.", b"9.")
        message = handset.read(result_of(handset.begin(body)))
        assert message is not None
        primitive: Any = message.transactions[0].primitive
        assert primitive.result.code == 505


@pytest.mark.parametrize("spoken", Version)
@pytest.mark.parametrize("version", Version)
def test_a_session_is_answered_in_its_own_version(
    node: Node, core: Core, version: Version, spoken: Version
) -> None:
    """A message in another version is understood, and no reply fails for it."""
    handset = Handset(node, version=version).open()
    queue(core, "hello")
    handset.version = spoken
    for content in (
        POLL,
        KEEP_ALIVE,
        send_message("hi"),
        "<GetSPInfo-Request/>",
        "<GetMessageList-Request/>",
        "<Service-Request><AllFunctionsRequest>T</AllFunctionsRequest>"
        "</Service-Request>",
        "<Logout-Request/>",
    ):
        message = handset.post(handset.transaction(content))
        assert message is not None
        assert message.version is version
    assert ("+" in handset.reply.content_type) is (version is V1_3)


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"<a/>", b"<WV-CSP-Message>", b"\x03\x10\x6a\x00", b"\xff"]
)
def test_what_is_no_message_is_malformed(alice: Handset, body: bytes) -> None:
    """The binding makes 400 of it; nothing has happened."""
    with pytest.raises(Malformed):
        result_of(alice.begin(body))
    assert not alice.node.sap.opens_session(alice.content_type, body)


def test_a_media_type_that_is_not_spoken(alice: Handset) -> None:
    """The binding makes 415 of it."""
    peer = Peer("192.0.2.1", 1)
    for kind in ("text/plain", "", "application/vnd.wv.csp.wbxml"):
        with pytest.raises(UnsupportedMedia):
            result_of(alice.node.sap.exchange(kind, b"", peer))
        assert not alice.node.sap.opens_session(kind, b"")


def test_only_a_login_opens_a_session(alice: Handset) -> None:
    """For redirects of the first POST."""
    sap = alice.node.sap
    inside = alice.body(alice.transaction(KEEP_ALIVE))
    assert not sap.opens_session(alice.content_type, inside)
    alice.session = None
    outside = alice.body(alice.transaction("<GetSPInfo-Request/>"))
    assert not sap.opens_session(alice.content_type, outside)
    login = alice.body(
        alice.transaction(
            f"<Login-Request><UserID>wv:a</UserID>{alice.client_id}"
            "<SessionCookie>c</SessionCookie></Login-Request>"
        )
    )
    assert sap.opens_session(alice.content_type, login)


def test_a_defect_in_a_handler_is_a_500_of_one_transaction(
    alice: Handset, failures: list[Any]
) -> None:
    """The others in the message are answered, and the log has the cause."""

    async def broken(session: Any, request: Any) -> Any:
        raise ZeroDivisionError

    (kind,) = (k for k in alice.node.sap._handlers if k.NAME == "GetSPInfo-Request")
    alice.node.sap._handlers[kind] = broken
    message = alice.post(
        alice.transaction("<GetSPInfo-Request/>"), alice.transaction(KEEP_ALIVE)
    )
    assert message is not None
    first, second = primitives(list(message.transactions))
    assert isinstance(first, Status)
    assert first.result.code == 500
    assert isinstance(second, KeepAliveResponse)
    assert len(failures) == 1
    failures.clear()


def failing(node: Node, name: str) -> Callable[[], None]:
    """Have a call of the store fail until the function that is returned is called."""
    whole = getattr(node.store, name)

    async def fails(*args: object, **kwargs: object) -> None:
        raise Unreachable("the store is away")

    setattr(node.store, name, fails)
    return lambda: setattr(node.store, name, whole)


def test_a_confirmation_that_cannot_be_kept_loses_nothing(
    alice: Handset, core: Core, clock: Clock
) -> None:
    """The message is offered again, and a request in the same POST is answered."""
    queue(core, "hello")
    (offer,) = alice.poll()
    repair = failing(alice.node, "finish_message")
    message = alice.post(
        alice.transaction(delivered(_id(offer)), "Response", offer.id),
        alice.transaction(KEEP_ALIVE),
    )
    assert message is not None
    assert isinstance(message.transactions[0].primitive, KeepAliveResponse)
    repair()
    clock.advance(31)
    assert alice.poll() == [offer]
    alice.confirm(offer)
    clock.advance(31)
    assert alice.poll() == []


def test_a_request_that_needs_the_store_is_503_while_it_is_away(
    alice: Handset,
) -> None:
    """And works again with it."""
    repair = failing(alice.node, "messages")
    assert alice.code("<GetMessageList-Request/>") == 503
    repair()
    assert not isinstance(alice.ask("<GetMessageList-Request/>"), Status)


def test_a_login_while_the_store_is_away(node: Node) -> None:
    """503 and no session; afterwards it works."""
    handset = Handset(node)
    for name in ("subscriber_by_user", "save_session"):
        repair = failing(node, name)
        assert handset.login().result.code == 503
        repair()
    assert len(node.sessions) == 0
    assert handset.login().result.code == 200


# -- anything at all -------------------------------------------------------------------


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("session_version", Version)
@given(data=st.data())
@settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_request_gets_one_answer_whatever_it_is(
    make: Callable[..., Node], session_version: Version, version: Version, data: Any
) -> None:
    """Any primitive of any version, in a session of any version, fails nothing.

    Requests are answered in their order with their ids, a response with nothing; the
    fixture fails the test for any defect that is logged.
    """
    node = make()
    handset = Handset(node, version=session_version).open()
    known = [
        cls
        for name, cls in PRIMITIVES.items()
        if cls.known_in(version) and "VersionDiscovery" not in name
    ]
    cls = data.draw(st.sampled_from(known))
    message: Message = data.draw(messages(cls, version))
    sent = replace(message, session_id=handset.session)
    reply = result_of(handset.begin(xmlsyntax.encode(sent)))
    requests = [t for t in sent.transactions if t.mode is Mode.REQUEST]
    answered = [t for t in requests if t.primitive.NAME != "Polling-Request"]
    if not answered:
        assert reply.body == b""
        return
    read = handset.read(reply)
    assert read is not None
    assert read.version is session_version
    assert [t.id for t in read.transactions] == [t.id for t in answered]
    assert {t.mode for t in read.transactions} == {Mode.RESPONSE}
    assert not any(
        isinstance(t.primitive, Disconnect) for t in read.transactions
    ) or cls.NAME.startswith("Logout")
