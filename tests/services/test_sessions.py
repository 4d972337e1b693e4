"""Sessions over time: expiry, re-establishment, restart, other nodes.

Transport binding 1.3 chapter 6, docs/semantics.md 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gateway.csp.common import Disconnect, Status
from gateway.csp.messaging import MessageNotification
from gateway.csp.schema import Version
from gateway.errors import Unreachable
from gateway.igateway import Peer
from gateway.services.access import AVAILABLE
from gateway.services.node import Node
from tests.services.doubles import (
    ALL,
    Core,
    Handset,
    message_to,
    open_store,
    result_of,
    subscriber,
)

V1_1, V1_2, V1_3 = Version
KEEP_ALIVE = "<KeepAlive-Request/>"
ALICE = "sip:alice@example.com"


def again(handset: Handset, session: str | None, proof: str | None = None) -> Any:
    """Log in with an old SessionID."""
    return handset.login(proof, extra=f"<SessionID>{session}</SessionID>")


# -- expiry ----------------------------------------------------------------------------


@pytest.mark.requirement("T-6-01")
def test_a_session_does_not_depend_on_its_connection(alice: Handset) -> None:
    """From another address and port it is the same session."""
    alice.address = "198.51.100.7"
    assert not isinstance(alice.ask(KEEP_ALIVE), Status)


@pytest.mark.requirement("T-B.1.2-014")
@pytest.mark.parametrize("version", Version)
def test_an_expired_session_hears_disconnect_once_and_then_604(
    node: Node, clock: Clock, version: Version
) -> None:
    """600 when it polls; its resources go after that."""
    handset = Handset(node, version=version).open()
    clock.advance(600)
    assert len(node.sessions) == 0
    (farewell,) = handset.poll()
    assert isinstance(farewell.primitive, Disconnect)
    assert farewell.primitive.result.code == 600
    assert handset.code("<Polling-Request/>") == 604
    assert handset.code(KEEP_ALIVE) == 604


def test_a_request_of_an_expired_session_gets_600_once(
    alice: Handset, clock: Clock
) -> None:
    """As the answer to it, for a client that does not poll."""
    clock.advance(601)
    assert alice.code(KEEP_ALIVE) == 600
    assert alice.code(KEEP_ALIVE) == 604


@pytest.mark.parametrize("content", [KEEP_ALIVE, "<Polling-Request/>", "<NoSuch/>"])
def test_any_message_keeps_a_session_alive(
    alice: Handset, clock: Clock, content: str
) -> None:
    """Not only KeepAlive."""
    for _ in range(5):
        clock.advance(599)
        alice.post(alice.transaction(content))
    clock.advance(599)
    assert not isinstance(alice.ask(KEEP_ALIVE), Status)


def test_a_shorter_keep_alive_counts_at_once(alice: Handset, clock: Clock) -> None:
    """And a longer one as well."""
    ask = "<KeepAlive-Request><TimeToLive>{}</TimeToLive></KeepAlive-Request>"
    alice.ask(ask.format(1200))
    clock.advance(1199)
    alice.ask(ask.format(60))
    clock.advance(59)
    assert len(alice.node.sessions) == 1
    clock.advance(2)
    assert len(alice.node.sessions) == 0


def test_what_an_expired_session_leaves_waits_for_the_next(
    alice: Handset, core: Core, clock: Clock
) -> None:
    """Offered and not confirmed, or not yet offered: nothing is lost."""
    for text in ("one", "two"):
        core.ask(message_to("alice", text))
    assert len(alice.poll()) == 1
    clock.advance(601)
    assert core.of("REGISTER")[-1].headers.get("Expires") == "0"
    handset = Handset(alice.node).open()
    assert [t.primitive.content_data for t in handset.poll() + handset.poll()] == [  # type: ignore[attr-defined]
        "one",
        "two",
    ]


def test_sessions_that_come_and_go_leave_nothing_behind(
    node: Node, clock: Clock
) -> None:
    """A handset that logs in and out all day costs what one session costs."""
    handset = Handset(node)
    for _ in range(1500):
        handset.login()
    assert len(node.sessions) == 1
    assert len(node.sessions._expiries) <= 1100
    ask = "<KeepAlive-Request><TimeToLive>{}</TimeToLive></KeepAlive-Request>"
    for number in range(300):
        handset.ask(ask.format(60 + number % 2))
    assert len(node.sessions._expiries) <= 1100
    clock.advance(62)
    assert len(node.sessions) == 0


def test_an_end_that_cannot_be_written_is_written_later(
    alice: Handset, clock: Clock
) -> None:
    """The store is away when the session expires: no failure, and it stays ended."""
    store: Any = alice.node.store
    whole = store.save_session

    async def fails(record: object) -> bool:
        raise Unreachable("away")

    store.save_session = fails
    clock.advance(601)
    store.save_session = whole
    alice.poll()
    clock.advance(1)
    assert len(alice.node.sessions) == 1
    clock.advance(600)
    (farewell,) = alice.poll()
    assert isinstance(farewell.primitive, Disconnect)


# -- re-establishment ------------------------------------------------------------------


def end_by_logout(handset: Handset, clock: Clock) -> None:
    """End the session as the client may."""
    handset.ask("<Logout-Request/>")


def end_by_expiry(handset: Handset, clock: Clock) -> None:
    """End the session by silence."""
    clock.advance(601)


def end_by_server(handset: Handset, clock: Clock) -> None:
    """End the session as the server may."""
    (session,) = handset.node.sessions.of(ALICE)
    result_of(handset.node.sessions.close(session, 601))


def end_not(handset: Handset, clock: Clock) -> None:
    """Leave it open: the client has lost its way, not its SessionID."""


@pytest.mark.requirement("T-6-08", "T-6-10", "T-6-16")
@pytest.mark.parametrize("end", [end_by_logout, end_by_expiry, end_by_server, end_not])
@pytest.mark.parametrize("version", Version)
def test_a_session_is_taken_up_again_however_it_ended(
    node: Node,
    clock: Clock,
    version: Version,
    end: Callable[[Handset, Clock], None],
) -> None:
    """The same SessionID, and no negotiation is asked for."""
    handset = Handset(node, version=version).open(method="N", multi=3)
    handset.services("<IMFeat/>")
    old = handset.session
    end(handset, clock)
    response = again(handset, old)
    assert response.result.code == 200
    assert response.session_id == old
    assert response.capability_request is False
    assert len(node.sessions) == 1
    assert not isinstance(handset.ask(KEEP_ALIVE), Status)


@pytest.mark.requirement("T-6-19")
def test_a_session_taken_up_has_its_context(
    alice: Handset, core: Core, clock: Clock
) -> None:
    """Delivery method, capabilities and services are those of before."""
    alice.negotiate(method="N", multi=3)
    alice.services("<FundamentalFeat/>")
    old = alice.session
    clock.advance(601)
    for text in ("one", "two", "three", "four"):
        core.ask(message_to("alice", text))
    again(alice, old)
    offers = alice.poll()
    assert [type(t.primitive) for t in offers] == [MessageNotification] * 3
    assert alice.code("<GetMessageList-Request/>") == 506


def test_a_session_taken_up_has_no_farewell_left(alice: Handset, clock: Clock) -> None:
    """The Disconnect of its first life is not heard in the second."""
    old = alice.session
    clock.advance(601)
    again(alice, old)
    assert alice.poll() == []
    alice.ask("<Logout-Request/>")
    assert alice.code("<Polling-Request/>") == 604


@pytest.mark.requirement("T-6-09")
def test_another_client_must_negotiate(alice: Handset, core: Core) -> None:
    """CapabilityRequest T; nothing is offered to it before it did."""
    old = alice.session
    alice.ask("<Logout-Request/>")
    other = Handset(alice.node, client="http://another/")
    response = again(other, old)
    assert response.session_id == old
    assert response.capability_request is True
    core.ask(message_to("alice"))
    other.ask(KEEP_ALIVE)
    assert b"NewMessage" not in other.reply.body
    other.negotiate(multi=2)
    assert b"NewMessage" in other.reply.body


@pytest.mark.requirement("T-6-11", "T-6-12")
@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("alive", [True, False])
def test_all_three_must_match(node: Node, version: Version, alive: bool) -> None:
    """User-ID, password and Session-ID: 604 when one is wrong, whichever."""
    handset = Handset(node, version=version).open()
    old = handset.session
    if not alive:
        handset.ask("<Logout-Request/>")
    bob = Handset(node, user="wv:bob@example.com", version=version)
    nobody = Handset(node, user="wv:nobody@example.com", version=version)
    wrong = "<Password>wrong</Password>"
    for response in (
        again(handset, old, wrong),
        again(handset, "A" * 22),
        again(bob, old),
        again(nobody, old, wrong),
    ):
        assert response.result.code == 604
        assert response.session_id is None
    assert again(handset, old).result.code == 200


def test_a_failed_attempt_does_not_end_the_living_session(alice: Handset) -> None:
    """Else whoever knows a SessionID could end it."""
    old = alice.session
    bob = Handset(alice.node, user="wv:bob@example.com")
    again(bob, old)
    again(Handset(alice.node), old, "<Password>wrong</Password>")
    alice.session = old
    assert not isinstance(alice.ask(KEEP_ALIVE), Status)


@pytest.mark.requirement("T-6-13")
def test_services_that_cannot_be_given_again(alice: Handset, clock: Clock) -> None:
    """605 when the server offers less than it did."""
    alice.services(ALL)
    old = alice.session
    clock.advance(601)
    alice.node.access.available = AVAILABLE - {"GETM"}
    assert again(alice, old).result.code == 605


@pytest.mark.requirement("T-6-14", "T-6-15")
def test_re_establishment_may_be_switched_off(make: Callable[..., Node]) -> None:
    """501, and a plain login works."""
    node = make(session={"re_establish": False})
    handset = Handset(node).open()
    old = handset.session
    assert again(handset, old).result.code == 501
    assert handset.login().result.code == 200


@pytest.mark.requirement("T-6-17")
@pytest.mark.parametrize(("later", "code"), [(290, 200), (302, 604)])
def test_the_window_is_five_times_the_keep_alive_time(
    node: Node, clock: Clock, later: int, code: int
) -> None:
    """After its end, for 60 seconds of KeepAliveTime."""
    handset = Handset(node).open()
    handset.ask("<KeepAlive-Request><TimeToLive>60</TimeToLive></KeepAlive-Request>")
    old = handset.session
    handset.ask("<Logout-Request/>")
    clock.advance(later)
    assert again(handset, old).result.code == code


@pytest.mark.requirement("T-6-18")
@pytest.mark.parametrize(("later", "code"), [(86_300, 200), (86_500, 604)])
def test_the_window_is_never_longer_than_a_day(
    node: Node, clock: Clock, later: int, code: int
) -> None:
    """Though five times the longest KeepAliveTime would be."""
    handset = Handset(node).open()
    handset.ask("<KeepAlive-Request><TimeToLive>86400</TimeToLive></KeepAlive-Request>")
    old = handset.session
    handset.ask("<Logout-Request/>")
    clock.advance(later)
    assert again(handset, old).result.code == code


def test_an_empty_session_id_is_none(node: Node) -> None:
    """Some encoders write the element whether there is something to say or not."""
    assert again(Handset(node), "").result.code == 200


def test_two_at_a_time_make_one_session(
    alice: Handset, core: Core, clock: Clock
) -> None:
    """Both attempts read the store before either is written: no phantom is left."""
    node, old = alice.node, alice.session
    alice.ask("<Logout-Request/>")
    store: Any = node.store
    whole, held = store.save_session, []

    async def later(record: object) -> bool:
        gate: Deferred[None] = Deferred()
        held.append(gate)
        await gate
        kept: bool = await whole(record)
        return kept

    store.save_session = later
    alice.session = None
    login = alice.body(
        alice.transaction(
            f"<Login-Request><UserID>wv:alice</UserID>{alice.client_id}"
            "<Password>alice-secret</Password><SessionCookie>c</SessionCookie>"
            f"<SessionID>{old}</SessionID></Login-Request>"
        )
    )
    posts = [alice.begin(login), alice.begin(login)]
    store.save_session = whole
    for gate in held:
        gate.callback(None)
    assert all(result_of(d).body for d in posts)
    assert node.sessions.count(ALICE) == len(node.sessions) == 1
    clock.advance(601)
    assert node.sessions.count(ALICE) == 0


# -- restart and other nodes -----------------------------------------------------------


def test_a_restart_is_not_noticed(
    make: Callable[..., Node], core: Core, clock: Clock
) -> None:
    """Sessions, what was agreed, and what waits: all is as before."""
    store = open_store(clock)
    old = make(store=store)
    handset = Handset(old, version=V1_3).open(method="N", multi=2)
    handset.services("<FundamentalFeat/>")
    core.ask(message_to("alice", "one"))
    core.ask(message_to("alice", "two"))
    new = make(store=store, name="node-2")
    assert len(new.sessions) == 1
    handset.node = new
    offers = handset.poll()
    assert [type(t.primitive) for t in offers] == [MessageNotification] * 2
    assert handset.code("<GetMessageList-Request/>") == 506


def test_a_session_that_expired_while_nobody_ran_hears_it(
    make: Callable[..., Node], clock: Clock
) -> None:
    """At its next poll, from the node that is there by then."""
    store = open_store(clock)
    old = make(store=store)
    handset = Handset(old).open()
    old.sessions.stop()
    clock.advance(5000)
    new = make(store=store)
    clock.advance(1)
    handset.node = new
    (farewell,) = handset.poll()
    assert isinstance(farewell.primitive, Disconnect)
    assert farewell.primitive.result.code == 600


def test_any_node_serves_any_session_and_the_other_lets_go(
    make: Callable[..., Node], clock: Clock
) -> None:
    """With the next write, the node that lost the session notices."""
    store = open_store(clock)
    one, two = make(store=store), make(store=store, name="node-2")
    handset = Handset(one).open()
    handset.node = two
    assert not isinstance(handset.ask(KEEP_ALIVE), Status)
    assert len(one.sessions) == len(two.sessions) == 1
    handset.node = one
    clock.advance(61)
    handset.ask(KEEP_ALIVE)
    assert len(one.sessions) == 0
    assert not isinstance(handset.ask(KEEP_ALIVE), Status)
    assert len(one.sessions) == 1


def test_activity_is_written_after_a_tenth_of_the_keep_alive_time(
    alice: Handset, clock: Clock
) -> None:
    """Not with every message."""
    store = alice.node.store
    assert alice.session is not None

    def written() -> int:
        record = result_of(store.session(alice.session or ""))
        assert record is not None
        return record.last_activity // 1_000_000

    start = written()
    clock.advance(59)
    alice.poll()
    assert written() == start
    clock.advance(1)
    alice.poll()
    assert written() == start + 60


def test_many_who_ask_for_a_session_claim_it_once(
    make: Callable[..., Node], clock: Clock
) -> None:
    """The epoch is raised by one, however many POSTs come in at a time."""
    store = open_store(clock)
    handset = Handset(make(store=store)).open()
    node = make(store=open_store(clock), name="node-2")
    node.sessions._store = store
    whole, gates = store.session, []

    async def later(session_id: str) -> Any:
        gate: Deferred[None] = Deferred()
        gates.append(gate)
        await gate
        return await whole(session_id)

    store.session = later  # type: ignore[method-assign]
    body = handset.body(handset.transaction(KEEP_ALIVE))
    peer = Peer("192.0.2.1", 1)
    posts = [
        Deferred.fromCoroutine(node.sap.exchange(handset.content_type, body, peer))
        for _ in range(5)
    ]
    store.session = whole  # type: ignore[method-assign]
    (gate,) = gates
    gate.callback(None)
    assert all(result_of(d).body for d in posts)
    record = result_of(store.session(handset.session or ""))
    assert record is not None
    assert record.epoch == 1


def test_the_store_keeps_no_session_of_a_subscriber_who_never_was(
    make: Callable[..., Node], clock: Clock
) -> None:
    """A store from which the subscriber is gone still starts."""
    store = open_store(clock)
    Handset(make(store=store)).open()
    result_of(store.remove_subscriber(ALICE))
    node = make(store=store)
    assert Handset(node).login().result.code == 531
    result_of(store.add_subscribers([subscriber("alice")]))
    clock.advance(2)
    assert Handset(node).login().result.code == 200
