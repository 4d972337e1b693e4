"""Every figure an operator may build on: its name, and that it moves."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from gateway.csp.common import ClientID, LoginRequest, Recipient, Sender, User
from gateway.csp.messaging import MessageInfo, SendMessageRequest
from gateway.csp.schema import Version
from gateway.errors import Refused, Unreachable
from gateway.igateway import Figures, Peer
from gateway.translation.messaging import options
from tests.services.doubles import Handset, message_to, result_of

COUNTERS = {"imps_messages", "imps_logins", "imps_put_off"}
GAUGES = {
    "imps_sessions",
    "imps_offers",
    "imps_registrations",
    "imps_outbox_lines",
    "imps_sip_transactions",
    "imps_peer_up",
    "imps_loop_lag_seconds",
    "imps_store",
}


def read(node) -> Figures:
    """Give the figures of now."""
    return result_of(node.figures())


def gauge(node, name: str, *labels: str) -> float:
    """Give one value of a gauge."""
    return read(node).gauges[name][2][labels]


def test_the_names_are_fixed(node):
    figures = read(node)
    assert set(figures.counters) == COUNTERS
    assert set(figures.gauges) == GAUGES


def test_a_session_and_its_registration_are_gauged(node):
    assert gauge(node, "imps_sessions") == 0
    handset = Handset(node).open()
    assert gauge(node, "imps_sessions") == 1
    assert gauge(node, "imps_registrations") == 1
    assert read(node).counters["imps_logins"][2]["200",] == 1
    handset.ask("<Logout-Request/>")
    assert gauge(node, "imps_sessions") == 0
    assert gauge(node, "imps_registrations") == 0


def test_what_waits_for_a_handset_is_gauged(alice, core):
    node = alice.node
    assert core.ask(message_to("alice")).status == 200
    assert gauge(node, "imps_offers") == 1
    assert gauge(node, "imps_store", "messages_to_handset") == 1
    counted = read(node).counters["imps_messages"][2]
    assert counted["accepted", "to_handset", ""] == 1
    (offer,) = alice.poll()
    alice.confirm(offer)
    assert gauge(node, "imps_offers") == 0
    assert gauge(node, "imps_store", "messages_to_handset") == 0
    counted = read(node).counters["imps_messages"][2]
    assert counted["delivered", "to_handset", ""] == 1


def test_a_message_for_one_who_is_away_is_counted_as_stored(node, core):
    assert core.ask(message_to("bob")).status == 202
    counted = read(node).counters["imps_messages"][2]
    assert counted["stored", "to_handset", ""] == 1


def test_what_is_refused_is_counted_with_its_reason(make, core):
    node = make(offline={"max_messages": 0})
    assert core.ask(message_to("bob")).status == 480
    counted = read(node).counters["imps_messages"][2]
    assert counted["refused", "to_handset", "SIP 480"] == 1


def test_a_core_that_is_silent_is_down_and_the_gateway_ill(alice, core, clock):
    node = alice.node
    name = "core udp:127.0.0.1:5060"
    assert gauge(node, "imps_peer_up", name) == 1
    assert result_of(node.ills()) == []
    core.script = lambda request: None
    alice.node.ua.request(_message(alice), result_of(_account(alice))).addErrback(
        lambda failure: failure.trap(Unreachable)
    )
    assert gauge(node, "imps_sip_transactions", "pending") > 0
    clock.pump([0.5] * 70)
    assert gauge(node, "imps_peer_up", name) == 0
    assert result_of(node.ills()) == [f"{name} cannot be had"]


def test_a_line_that_waits_to_sip_is_gauged(alice, core, clock):
    node = alice.node
    core.script = lambda request: None
    sending = node.sending.send(node.sessions.of(_AOR)[0], alice_request())
    results: list = []
    Deferred.fromCoroutine(sending).addBoth(results.append)
    clock.pump([1] * 9)
    assert results
    assert gauge(node, "imps_outbox_lines") == 1
    assert gauge(node, "imps_store", "messages_to_sip") == 1


def test_a_store_that_is_away_makes_the_gateway_ill(node, monkeypatch):
    async def away(*args):
        raise Unreachable("the store is away")

    monkeypatch.setattr(node.store, "subscriber_revision", away)
    monkeypatch.setattr(node.store, "counts", away)
    assert result_of(node.ills()) == ["store cannot be had"]
    assert gauge(node, "imps_peer_up", "store") == 0
    assert read(node).gauges["imps_store"][2] == {}


def test_a_late_tick_is_lag(node, clock):
    clock.advance(1)
    clock.advance(3)
    assert gauge(node, "imps_loop_lag_seconds") == pytest.approx(2)


_AOR = "sip:alice@example.com"


def _message(alice):
    return options(_AOR, "sip:dave@example.com", "token")


def _account(alice):
    return alice.node.registrations.account(_AOR)


def alice_request():
    """Make a SendMessage to Dave."""
    info = MessageInfo(
        content_size=2,
        recipient=Recipient(user=(User(user_id="wv:dave@example.com"),)),
        sender=Sender(user=User(user_id="wv:alice@example.com")),
    )
    return SendMessageRequest(message_info=info, content_data="hi")


def test_too_many_failed_logins_are_told_to_wait(make, clock):
    """The account, and an address, are refused at once; others are not."""
    node = make(session={"login_failures": 2, "login_failures_per_address": 4})
    one, two = Peer("192.0.2.1", 1), Peer("192.0.2.2", 1)
    codes = [_try(node, "alice", one) for _ in range(3)]
    assert codes == [409, 409, 503]
    assert _try(node, "alice", two) == 503
    assert _try(node, "alice", one, "alice-secret") == 503
    assert [_try(node, "bob", one), _try(node, "bob", one)] == [409, 409]
    assert _try(node, "carol", one, "carol-secret") == 503
    assert _try(node, "carol", two, "carol-secret") == 200
    clock.advance(61)
    assert _try(node, "alice", one, "alice-secret") == 200
    shared = Peer("192.0.2.3", 1, shared=True)
    for name in ("dave", "erin", "frank", "grace", "heidi"):
        assert _try(node, name, shared) == 531
    assert _try(node, "bob", shared, "bob-secret") == 200


def _try(node, name: str, peer: Peer, password: str = "wrong") -> int:
    request = LoginRequest(
        user_id=f"wv:{name}@example.com",
        client_id=ClientID(url=f"http://{name}.example.com"),
        password=password,
        session_cookie="c",
    )
    try:
        response, _ = result_of(node.access.login(request, Version.V1_2, peer))
    except Refused as refusal:
        return refusal.code
    return response.result.code
