"""The transaction layer, stepped by hand (RFC 3261 17 and 18, RFC 3581, RFC 6026)."""

from __future__ import annotations

import itertools

import pytest

from gateway.errors import Unreachable
from gateway.sip.message import Request, Response, parse
from gateway.sip.transaction import (
    AckReceived,
    ClientTransaction,
    Event,
    Hop,
    RequestReceived,
    ResponseReceived,
    ServerTransaction,
    State,
    TimedOut,
    TransactionLayer,
    TransportFailed,
)
from tests.sip.samples import request

UDP = Hop("udp", "192.0.2.9", 5060)
TCP = Hop("tcp", "192.0.2.9", 5060)
TLS = Hop("tls", "192.0.2.9", 5061)


def make_layer(**options: int) -> TransactionLayer:
    """A layer whose branches count up."""
    numbers = itertools.count(1)
    return TransactionLayer(
        token=lambda: f"t{next(numbers)}",
        via=lambda hop: "192.0.2.1:5060",
        max_transactions=options.get("max_transactions", 100),
    )


def sent(layer: TransactionLayer) -> list[Request | Response]:
    """What the layer wants to send, read."""
    return [parse(data) for _, data in layer.data_to_send()]


def events(layer: TransactionLayer) -> list[Event]:
    """All that happened."""
    return list(iter(layer.next_event, None))


def begin(layer: TransactionLayer, asked: Request, hop: Hop = UDP) -> ClientTransaction:
    """Send a request at 0 and forget its first bytes."""
    transaction = layer.request(asked, hop, 0)
    layer.data_to_send()
    return transaction


def answer_to(transaction: ClientTransaction, status: int, tag: str = "b") -> Response:
    """The response of a peer."""
    arrived = parse(transaction.data)
    assert isinstance(arrived, Request)
    return arrived.response(status, tag=tag)


def incoming(
    layer: TransactionLayer,
    method: str = "MESSAGE",
    source: Hop = UDP,
    via: str = "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx;rport",
    now: float = 0,
) -> RequestReceived:
    """Let a request arrive at the layer."""
    asked = request(method)
    asked.headers.set("Via", via)
    layer.receive(asked, source, now)
    (event,) = events(layer)
    assert isinstance(event, RequestReceived)
    return event


def resends(layer: TransactionLayer, until: float) -> list[float]:
    """Run the clock and list when something was sent."""
    times = []
    while (when := layer.next_timer()) is not None and when <= until:
        layer.handle_timer(when)
        times += [when] * len(layer.data_to_send())
    return times


def test_request_gets_our_via() -> None:
    """8.1.1.7: transport, sent-by, a fresh branch with the cookie, rport; the request
    of the caller stays as it was."""
    layer, asked = make_layer(), request()
    asked.headers.set("Via", "SIP/2.0/UDP before.example;branch=z9hG4bKb")
    first = layer.request(asked, TLS, 0)
    layer.request(asked, UDP, 0)
    (hop, data), (_, other) = layer.data_to_send()
    assert hop == TLS
    vias = parse(data).headers.all("Via")
    assert vias == [
        "SIP/2.0/TLS 192.0.2.1:5060;branch=z9hG4bKt1;rport",
        "SIP/2.0/UDP before.example;branch=z9hG4bKb",
    ]
    assert parse(other).via.branch == "z9hG4bKt2"
    assert len(asked.headers.all("Via")) == 1
    assert first.method == "MESSAGE" and first.request is asked


def test_client_retransmits_and_gives_up() -> None:
    """17.1.2.2: Timer E doubles up to T2, Timer F ends it at 64 T1."""
    layer = make_layer()
    transaction = begin(layer, request())
    times = resends(layer, 60)
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert events(layer) == [TimedOut(transaction)]
    assert transaction.state == State.TERMINATED
    assert layer.counts() == dict.fromkeys(layer.counts(), 0)


def test_client_on_streams_does_not_retransmit() -> None:
    """17.1.2.2: a reliable transport has Timer F alone."""
    layer = make_layer()
    transaction = begin(layer, request(), TCP)
    assert resends(layer, 31.99) == [] and events(layer) == []
    assert resends(layer, 32) == [] and events(layer) == [TimedOut(transaction)]


def test_client_in_proceeding_repeats_each_t2() -> None:
    """17.1.2.2: after a provisional response Timer E is T2, and F goes on."""
    layer = make_layer()
    transaction = begin(layer, request())
    layer.receive(answer_to(transaction, 100), UDP, 0.1)
    (told,) = events(layer)
    assert isinstance(told, ResponseReceived) and told.response.status == 100
    assert resends(layer, 60) == [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert events(layer) == [TimedOut(transaction)]


@pytest.mark.parametrize("status", [200, 202, 302, 404, 503, 603])
def test_client_ends_with_the_first_final(status: int) -> None:
    """17.1.2.2: one final response reaches the user, repeats do not."""
    layer = make_layer()
    transaction = begin(layer, request())
    answer = answer_to(transaction, status)
    for _ in range(3):
        layer.receive(answer, UDP, 1)
    assert events(layer) == [ResponseReceived(transaction, answer)]
    assert resends(layer, 60) == [] and layer.counts()["clients"] == 0


def test_responses_match_by_branch_and_method() -> None:
    """17.1.3: another branch, another CSeq method or no Via is a stray."""
    layer = make_layer()
    transaction = begin(layer, request())
    for name, value in [
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKother"),
        ("Via", "SIP/2.0/UDP 192.0.2.1"),
        ("Via", '"open, SIP/2.0/UDP x;branch=z9hG4bKt1'),
        ("Via", ","),
        ("CSeq", "1 OPTIONS"),
    ]:
        stray = answer_to(transaction, 200)
        stray.headers.set(name, value)
        layer.receive(stray, UDP, 0)
    bare = answer_to(transaction, 200)
    bare.headers.remove("Via")
    layer.receive(bare, UDP, 0)
    assert events(layer) == []
    joined = answer_to(transaction, 200)
    joined.headers.set("Via", f"{transaction.via}, SIP/2.0/UDP far;branch=z9hG4bKf")
    layer.receive(joined, UDP, 0)
    assert len(events(layer)) == 1


def test_lost_transport_ends_what_waits_there() -> None:
    """18.4: every request on that hop fails with the reason, others go on."""
    layer = make_layer()
    here = [begin(layer, request(number=n), TCP) for n in (1, 2)]
    begin(layer, request(number=3), UDP)
    layer.transport_failed(TCP, 1, "reset")
    assert events(layer) == [TransportFailed(t, "reset") for t in here]
    layer.transport_failed(TCP, 1)
    assert events(layer) == [] and layer.counts()["pending"] == 1


def test_server_repeats_its_last_response() -> None:
    """17.2.2: repeats are absorbed while the user works, then answered as before."""
    layer = make_layer()
    event = incoming(layer)
    asked, transaction = event.request, event.transaction
    layer.receive(asked, UDP, 0.5)
    assert events(layer) == [] and layer.data_to_send() == []
    layer.respond(transaction, asked.response(100), 1)
    layer.receive(asked, UDP, 1.5)
    assert [m.status for m in sent(layer) if isinstance(m, Response)] == [100, 100]
    layer.respond(transaction, asked.response(202, tag="b"), 2)
    layer.respond(transaction, asked.response(500, tag="b"), 2)
    layer.receive(asked, UDP, 33)
    assert [m.status for m in sent(layer) if isinstance(m, Response)] == [202, 202]
    assert layer.next_timer() == 34
    layer.handle_timer(34)
    assert transaction.state == State.TERMINATED and layer.counts()["servers"] == 0
    layer.receive(asked, UDP, 34)
    assert len(events(layer)) == 1


def test_server_on_streams_forgets_at_once() -> None:
    """17.2.2: Timer J is zero on reliable transports."""
    layer = make_layer()
    event = incoming(layer, source=TCP, via="SIP/2.0/TCP h;branch=z9hG4bKx")
    layer.respond(event.transaction, event.request.response(200, tag="b"), 0)
    assert layer.data_to_send()[0][0] == TCP
    assert layer.counts()["servers"] == layer.counts()["lingering"] == 0


def test_server_whose_user_never_answers_is_dropped() -> None:
    """RFC 4320 3.2: after 64 T1 nobody waits for the answer any more."""
    layer = make_layer()
    event = incoming(layer)
    assert resends(layer, 60) == []
    assert event.transaction.state == State.TERMINATED and events(layer) == []
    layer.respond(event.transaction, event.request.response(200), 61)
    assert layer.data_to_send() == [] and layer.counts()["pending"] == 0


@pytest.mark.parametrize(
    ("via", "source", "top", "hop"),
    [
        (
            "SIP/2.0/UDP h.example;branch=z9hG4bKx",
            Hop("udp", "192.0.2.9", 40000),
            "SIP/2.0/UDP h.example;branch=z9hG4bKx;received=192.0.2.9",
            Hop("udp", "192.0.2.9", 5060),
        ),
        (
            "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx",
            Hop("udp", "192.0.2.9", 40000),
            "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx",
            Hop("udp", "192.0.2.9", 5070),
        ),
        (
            "SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKx",
            Hop("udp", "192.0.2.9", 40000),
            "SIP/2.0/UDP 192.0.2.9;rport=40000;branch=z9hG4bKx;received=192.0.2.9",
            Hop("udp", "192.0.2.9", 40000),
        ),
        (
            "SIP/2.0/UDP [2001:DB8::1];branch=z9hG4bKx;maddr=192.0.2.77",
            Hop("udp", "2001:db8::1", 5060),
            "SIP/2.0/UDP [2001:DB8::1];branch=z9hG4bKx;maddr=192.0.2.77",
            Hop("udp", "2001:db8::1", 5060),
        ),
        (
            "SIP/2.0/TCP inner:5062;branch=z9hG4bKx, SIP/2.0/UDP far;branch=z9hG4bKf",
            Hop("tcp", "192.0.2.9", 40000),
            "SIP/2.0/TCP inner:5062;branch=z9hG4bKx;received=192.0.2.9",
            Hop("tcp", "192.0.2.9", 40000),
        ),
    ],
)
def test_responses_go_where_the_request_came_from(
    via: str, source: Hop, top: str, hop: Hop
) -> None:
    """18.2.1, 18.2.2, RFC 3581: received and rport are noted; maddr is not believed."""
    layer = make_layer()
    event = incoming(layer, source=source, via=via)
    assert event.source == source and event.transaction.hop == hop
    vias = event.request.headers.values("Via")
    assert vias[0] == top and vias[1:] == via.split(", ")[1:]
    layer.respond(event.transaction, event.request.response(200), 0)
    ((where, data),) = layer.data_to_send()
    assert where == hop and parse(data).headers.values("Via") == vias


def test_same_branch_of_another_sender_or_method_is_another() -> None:
    """17.2.3: branch, sent-by and method together."""
    layer = make_layer()
    incoming(layer)
    incoming(layer, via="SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKx")
    incoming(layer, method="OPTIONS")
    assert layer.counts()["servers"] == 3


def test_unreadable_via_is_dropped() -> None:
    """18.2.1: without it no response finds its way."""
    layer = make_layer()
    for name, value in (("Via", "SIP/2.0/UDP ;;"), ("Via", '"a, b')):
        asked = request()
        asked.headers.set(name, value)
        layer.receive(asked, UDP, 0)
        assert layer.find_invite(asked) is None
    asked = request()
    asked.headers.set("Via", "SIP/2.0/UDP h")
    asked.headers.set("CSeq", "x")
    layer.receive(asked, UDP, 0)
    assert events(layer) == [] and layer.data_to_send() == []


def test_bound_refuses_both_sides() -> None:
    """21.5.4: 503 with Retry-After, keeping nothing; ours are Unreachable."""
    layer = make_layer(max_transactions=2)
    begin(layer, request())
    first = incoming(layer)
    over = request("OPTIONS")
    over.headers.set("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKy")
    layer.receive(over, UDP, 0)
    layer.receive(over, UDP, 0)
    one, two = sent(layer)
    assert isinstance(one, Response) and one == two
    assert one.status == 503 and one.headers.get("Retry-After") == "5"
    assert one.to.tag and events(layer) == []
    with pytest.raises(Unreachable):
        layer.request(request(), UDP, 0)
    layer.respond(first.transaction, first.request.response(200), 0)
    layer.request(request(), UDP, 0)
    assert layer.counts()["pending"] == 2


def test_what_lingers_is_bounded() -> None:
    """The oldest finished transactions are forgotten before memory grows."""
    layer = make_layer(max_transactions=3)
    for number in range(10):
        via = f"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{number}"
        event = incoming(layer, via=via, now=number)
        layer.respond(event.transaction, event.request.response(200), number)
    assert layer.counts()["lingering"] == layer.counts()["servers"] == 3
    layer.handle_timer(100)
    assert layer.next_timer() is None and layer.counts()["servers"] == 0


def test_stale_timers_do_not_pile_up() -> None:
    """A finished transaction leaves the clock within one interval."""
    layer = make_layer(max_transactions=1000)
    for number in range(500):
        transaction = begin(layer, request(number=number), TCP)
        layer.receive(answer_to(transaction, 200), TCP, 0)
    assert layer.next_timer() is None and layer.counts()["ticks"] == 0


def test_the_clock_drops_finished_transactions() -> None:
    """Without asking for the next timer first, too: nothing finished is armed again."""
    layer = make_layer()
    begin(layer, request())
    transaction = begin(layer, request("INVITE"))
    layer.receive(answer_to(transaction, 180), UDP, 0.1)
    layer.transport_failed(UDP, 0.2)
    assert layer.counts()["ticks"] == 2
    layer.handle_timer(0.5)
    assert layer.counts()["ticks"] == 0 and layer.data_to_send() == []


def test_late_timers_do_not_burst() -> None:
    """A process that was held up for seconds sends one repeat, not all of them."""
    layer = make_layer()
    begin(layer, request())
    layer.handle_timer(10)
    assert len(layer.data_to_send()) == 1 and layer.next_timer() == 11


# INVITE.


def test_invite_client_retransmits_until_proceeding() -> None:
    """17.1.1.2: Timer A doubles without bound, a provisional response stops it."""
    layer = make_layer()
    transaction = begin(layer, request("INVITE"))
    assert resends(layer, 20) == [0.5, 1.5, 3.5, 7.5, 15.5]
    layer.receive(answer_to(transaction, 180), UDP, 20)
    assert resends(layer, 1000) == [] and layer.next_timer() is None
    assert transaction.state == State.PROCEEDING


def test_invite_client_times_out() -> None:
    """17.1.1.2: Timer B at 64 T1."""
    layer = make_layer()
    transaction = begin(layer, request("INVITE"))
    resends(layer, 60)
    assert events(layer) == [TimedOut(transaction)]


def test_invite_client_acknowledges_failures() -> None:
    """17.1.1.3: the ACK has the INVITE's Via, URI, Route and CSeq number, and the To
    of the response; each repeat is acknowledged until Timer D."""
    layer, asked = make_layer(), request("INVITE", 7, body=b"offer")
    asked.headers.set("Route", "<sip:core;lr>")
    transaction = begin(layer, asked)
    refusal = answer_to(transaction, 486)
    layer.receive(refusal, UDP, 1)
    layer.receive(refusal, UDP, 2)
    assert events(layer) == [ResponseReceived(transaction, refusal)]
    ack, again = sent(layer)
    assert isinstance(ack, Request) and ack == again
    assert (ack.method, ack.uri, ack.body) == ("ACK", asked.uri, b"")
    assert ack.headers.all("Via") == [transaction.via]
    assert ack.headers.get("Route") == "<sip:core;lr>"
    assert ack.to.tag == "b" and str(ack.cseq) == "7 ACK"
    assert layer.next_timer() == 33
    layer.handle_timer(33)
    layer.receive(refusal, UDP, 34)
    assert layer.data_to_send() == [] and layer.counts()["clients"] == 0


def test_invite_client_passes_every_2xx() -> None:
    """RFC 6026 7.1: forked 2xx all reach the user, without an ACK of ours."""
    layer = make_layer()
    transaction = begin(layer, request("INVITE"), TCP)
    for tag in ("b", "c"):
        layer.receive(answer_to(transaction, 200, tag), TCP, 1)
    layer.receive(answer_to(transaction, 486), TCP, 1)
    tags = [e.response.to.tag for e in events(layer) if isinstance(e, ResponseReceived)]
    assert tags == ["b", "c"] and layer.data_to_send() == []
    layer.handle_timer(33)
    assert transaction.state == State.TERMINATED


def test_cancel_goes_beside_its_invite() -> None:
    """9.1: same Via and CSeq number, only after a provisional response; it finds the
    INVITE at the other side (9.2)."""
    near, far = make_layer(), make_layer()
    transaction = near.request(request("INVITE"), UDP, 0)
    assert near.cancel(transaction, 0) is None
    ((_, data),) = near.data_to_send()
    source = Hop("udp", "192.0.2.1", 5060)
    far.receive(parse(data), source, 0)
    (invited,) = events(far)
    assert isinstance(invited, RequestReceived)
    near.receive(parse(far.data_to_send()[0][1]), UDP, 0)
    cancelling = near.cancel(transaction, 1)
    assert cancelling is not None and cancelling.via == transaction.via
    far.receive(parse(near.data_to_send()[0][1]), source, 1)
    (cancelled,) = events(far)
    assert isinstance(cancelled, RequestReceived)
    assert cancelled.request.method == "CANCEL"
    assert far.find_invite(cancelled.request) is invited.transaction
    far.respond(cancelled.transaction, cancelled.request.response(200, tag="b"), 1)
    near.receive(parse(far.data_to_send()[0][1]), UDP, 1)
    assert isinstance(events(near)[-1], ResponseReceived)
    assert near.cancel(begin(near, request()), 1) is None


def test_invite_server_says_trying_and_repeats_failures_until_ack() -> None:
    """17.2.1: 100 at once, Timers G and H, Confirmed for T4 after the ACK."""
    layer = make_layer()
    event = incoming(layer, "INVITE")
    (trying,) = sent(layer)
    assert isinstance(trying, Response) and trying.status == 100
    layer.receive(event.request, UDP, 0)
    assert len(sent(layer)) == 1
    layer.respond(event.transaction, event.request.response(486, tag="b"), 0)
    layer.data_to_send()
    assert resends(layer, 10) == [0.5, 1.5, 3.5, 7.5]
    ack = request("ACK")
    ack.headers.set("Via", event.request.headers.get("Via") or "")
    layer.receive(ack, UDP, 10)
    layer.receive(ack, UDP, 11)
    assert events(layer) == [] and event.transaction.state == State.CONFIRMED
    assert layer.next_timer() == 15
    layer.handle_timer(15)
    assert layer.counts()["servers"] == 0


def test_invite_server_without_ack_times_out() -> None:
    """17.2.1: Timer H, on streams without repeats."""
    for hop, repeats in ((UDP, 10), (TCP, 0)):
        layer = make_layer()
        event = incoming(layer, "INVITE", hop)
        layer.respond(event.transaction, event.request.response(486), 0)
        layer.data_to_send()
        assert len(resends(layer, 60)) == repeats
        assert events(layer) == [TimedOut(event.transaction)]


def test_invite_server_leaves_2xx_to_the_user() -> None:
    """RFC 6026 7.1: Accepted absorbs the INVITE, sends the user's repeats of the 2xx,
    hands on an ACK, and ends after 64 T1."""
    layer = make_layer()
    event = incoming(layer, "INVITE")
    answer = event.request.response(200, tag="b")
    layer.respond(event.transaction, answer, 0)
    layer.data_to_send()
    layer.receive(event.request, UDP, 1)
    assert layer.data_to_send() == [] and resends(layer, 31) == []
    layer.respond(event.transaction, answer, 2)
    assert len(layer.data_to_send()) == 1
    ack = request("ACK")
    ack.headers.set("Via", event.request.headers.get("Via") or "")
    layer.receive(ack, UDP, 3)
    assert events(layer) == [AckReceived(event.transaction, ack)]
    other = request("ACK")
    other.headers.set("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKelse")
    layer.receive(other, UDP, 3)
    assert events(layer) == [AckReceived(None, other)]
    layer.handle_timer(32)
    assert event.transaction.state == State.TERMINATED


def test_ack_of_rfc_2543_finds_its_invite() -> None:
    """17.2.3: without branches Call-ID, CSeq, From tag and the rest match."""
    layer = make_layer()
    event = incoming(layer, "INVITE", via="SIP/2.0/UDP 192.0.2.9")
    refusal = event.request.response(486, tag="b")
    layer.respond(event.transaction, refusal, 0)
    ack = request("ACK")
    ack.headers.set("Via", "SIP/2.0/UDP 192.0.2.9")
    ack.headers.set("To", refusal.headers.get("To") or "")
    layer.receive(ack, UDP, 0)
    assert event.transaction.state == State.CONFIRMED


def test_ack_for_2xx_is_sent_without_a_transaction() -> None:
    """13.2.2.4: it has a Via of its own and is never repeated by the layer."""
    layer = make_layer()
    with pytest.raises(ValueError, match="ACK"):
        layer.request(request("ACK"), UDP, 0)
    layer.send(request("ACK"), UDP)
    (ack,) = sent(layer)
    assert ack.via.branch == "z9hG4bKt1"
    assert layer.next_timer() is None


def test_transactions_are_told_apart_by_identity() -> None:
    """They serve as keys, whatever they hold."""
    layer = make_layer()
    one, two = begin(layer, request()), begin(layer, request())
    assert len({one: 1, two: 2}) == 2 and one != two
    assert isinstance(incoming(layer).transaction, ServerTransaction)
