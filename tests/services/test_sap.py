"""The exchange on the data channel: what is answered, what rides along, what is wrong.

Rules: transport binding 1.3 chapter 7.2, docs/semantics.md 2 and 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from gateway.csp import xmlsyntax
from gateway.csp.catalogue import PRIMITIVES
from gateway.csp.common import Disconnect, KeepAliveResponse, Status
from gateway.csp.envelope import Message, Mode
from gateway.csp.messaging import (
    GetMessageResponse,
    MessageNotification,
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
    message_id_of,
    primitives,
    queue,
    result_of,
    send_message,
    status,
    texts,
)

V1_1, V1_2, V1_3 = Version
KEEP_ALIVE = "<KeepAlive-Request/>"
POLL = "<Polling-Request/>"


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
        handset.transaction(delivered(message_id_of(second)), "Response", second.id),
        handset.transaction(KEEP_ALIVE, number="abc"),
        handset.transaction(delivered(message_id_of(first)), "Response", first.id),
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
    message_id = message_id_of(offer)
    get = (
        f"<GetMessage-Request><MessageID>{message_id}</MessageID></GetMessage-Request>"
    )
    response = handset.ask(get)
    assert isinstance(response, GetMessageResponse)
    assert response.content_data == "pull me"
    assert handset.code(delivered(message_id)) == 200
    assert handset.code(get) == 426
    assert handset.poll() == []


def test_get_message_and_its_confirmation_may_have_onemessage_id_of(
    node: Node, core: Core
) -> None:
    """Of equal content but for the name, they are no repeats of each other."""
    handset = Handset(node).open(method="N")
    queue(core, "pull me")
    (offer,) = handset.poll()
    handset.answer(offer, status())
    identified = f"<MessageID>{message_id_of(offer)}</MessageID>"
    get = f"<GetMessage-Request>{identified}</GetMessage-Request>"
    assert isinstance(handset.ask(get, number="1"), GetMessageResponse)
    assert isinstance(handset.ask(delivered(message_id_of(offer)), number="1"), Status)


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
    """The whole exchange fails, so that nobody takes it for kept; it may come again."""
    queue(core, "hello")
    (offer,) = alice.poll()
    repair = failing(alice.node, "finish_message")
    confirmation = alice.transaction(
        delivered(message_id_of(offer)), "Response", offer.id
    )
    with pytest.raises(Unreachable):
        alice.post(confirmation, alice.transaction(KEEP_ALIVE))
    repair()
    clock.advance(31)
    assert alice.poll() == [offer]
    answer = alice.post(confirmation, alice.transaction(KEEP_ALIVE))
    assert answer is not None
    assert isinstance(answer.transactions[0].primitive, KeepAliveResponse)
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
