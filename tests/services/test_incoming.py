"""SIP requests for handsets: who is believed, what is answered, delivered once."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.csp.schema import Version
from gateway.errors import Unreachable
from gateway.sip.message import Request, Response, parse
from gateway.sip.transaction import Hop
from tests.services.doubles import (
    Core,
    Handset,
    delivered,
    message_to,
    result_of,
    status,
    subscriber,
)

PAI = "P_Asserted_Identity"
STRANGER = Hop("udp", "203.0.113.7", 5060)


def code(core: Core, request: Request, source: Hop | None = None) -> int:
    answer = core.ask(request) if source is None else core.ask(request, source)
    assert answer is not None
    return answer.status


def again(request: Request, branch: str) -> Request:
    """Copy a request under another branch: merged, or sent again after a restart."""
    copy = Request(
        method=request.method,
        uri=request.uri,
        headers=request.headers.copy(),
        body=request.body,
    )
    copy.headers.set("Via", f"SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{branch}")
    return copy


def request(method: str, uri: str, *lines: str, body: bytes = b"") -> Request:
    request.count += 1  # type: ignore[attr-defined]
    number = request.count  # type: ignore[attr-defined]
    head = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKr{number}",
        "Max-Forwards: 70",
        "From: <sip:dave@example.com>;tag=1",
        "To: <sip:alice@example.com>",
        f"Call-ID: r{number}",
        f"CSeq: 1 {method}",
        *lines,
        "",
        "",
    ]
    read = parse("\r\n".join(head).encode() + body)
    assert isinstance(read, Request)
    return read


request.count = 0  # type: ignore[attr-defined]


def pushed(handset: Handset) -> list[Any]:
    return [t.primitive for t in handset.poll()]


# -- answers


def test_200_with_a_session_202_without_404_for_nobody(core, alice):
    assert code(core, message_to("alice")) == 200
    assert code(core, message_to("bob")) == 202
    assert code(core, message_to("nobody")) == 404


def test_no_store_and_no_session_is_480(core, make):
    make(offline={"max_messages": 0})
    assert code(core, message_to("alice")) == 480


def test_a_full_store_is_480(core, make):
    make(offline={"max_messages": 2})
    assert [code(core, message_to("alice")) for _ in range(3)] == [202, 202, 480]


def test_a_message_that_is_not_to_be_kept_is_480(core, node):
    assert code(core, message_to("alice", Expires="0")) == 480


def test_a_store_that_is_away_is_503_to_be_tried_again(core, alice, monkeypatch):
    async def away(message, limits=None):
        raise Unreachable("the store is down")

    monkeypatch.setattr(alice.node.store, "add_message", away)
    answer = core.ask(message_to("alice"))
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "10")


def test_a_disabled_subscriber_is_nobody(core, node):
    gone = subscriber("alice", enabled=False)
    result_of(node.store.add_subscribers([gone], replace=True))
    assert code(core, message_to("alice")) == 404


def test_too_large_is_513(core, make):
    make(offline={"max_size": "1KiB"})
    assert code(core, message_to("alice", "x" * 2000)) == 513


def test_a_type_that_the_handset_does_not_take_is_415(core, node):
    extra = (
        "<AcceptedContentType>text/plain</AcceptedContentType>"
        "<AcceptedContentType>image/gif\nX-Evil: 1</AcceptedContentType>"
    )
    Handset(node).open(extra=extra)
    answer = core.ask(message_to("alice", Content_Type="video/mp4"))
    assert answer.status == 415
    assert answer.headers.get("Accept") == "text/plain"


def test_is_composing_and_empty_bodies_are_swallowed(core, alice):
    typing = "application/im-iscomposing+xml"
    assert code(core, message_to("alice", "<x/>", Content_Type=typing)) == 200
    assert code(core, message_to("alice", "")) == 200
    assert pushed(alice) == []


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:alice@example.com", 200),
        ("sip:Alice@EXAMPLE.com;user=phone", 200),
        ("sips:alice@example.com", 200),
        ("im:alice@example.com", 200),
        ("sip:alice@127.0.0.1:5062", 200),
        ("sip:alice@elsewhere.example", 404),
        ("tel:+358401234567", 200),
        ("sip:+358401234567@example.com;user=phone", 200),
        ("tel:+358409999999", 404),
        ("mailto:alice@example.com", 416),
        ("sip:example.com", 400),
        ("sip:%FF@example.com", 400),
    ],
)
def test_whom_a_request_uri_means(core, node, uri, expected):
    known = subscriber("alice", msisdn="+358401234567")
    result_of(node.store.add_subscribers([known], replace=True))
    Handset(node).open()
    lines = ("P-Asserted-Identity: <sip:dave@example.com>", "Content-Type: text/plain")
    assert code(core, request("MESSAGE", uri, *lines, body=b"x")) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Require: pref, timer"], 200),
        (["Require: pref, foo"], 420),
        (["Content-Encoding: gzip"], 415),
        (["Content-Encoding: identity"], 200),
        (["Date: never"], 400),
        (["Expires: soon"], 400),
    ],
)
def test_headers_that_change_the_answer(core, alice, lines, expected):
    lines = ["P-Asserted-Identity: <sip:d@x.example>", "Content-Type: a/b", *lines]
    uri = "sip:alice@example.com"
    assert code(core, request("MESSAGE", uri, *lines, body=b"x")) == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [("INVITE", 405), ("SUBSCRIBE", 405), ("FOO", 405), ("CANCEL", 481), ("BYE", 405)],
)
def test_other_methods(core, alice, method, expected):
    answer = core.ask(request(method, "sip:alice@example.com"))
    assert answer.status == expected
    if expected == 405:
        assert answer.headers.get("Allow") == "MESSAGE, OPTIONS, REGISTER"


def test_a_message_within_a_dialog_is_481(core, alice):
    inside = message_to("alice", To="<sip:alice@example.com>;tag=1")
    assert code(core, inside) == 481


def test_options(core, alice):
    assert code(core, request("OPTIONS", "sip:127.0.0.1:5062")) == 200
    assert code(core, request("OPTIONS", "sip:alice@example.com")) == 200
    assert code(core, request("OPTIONS", "sip:bob@example.com")) == 480
    assert code(core, request("OPTIONS", "sip:nobody@example.com")) == 404


def test_a_third_party_register_has_no_effect(core, alice):
    answer = core.ask(request("REGISTER", "sip:gw.example.com", "Expires: 600"))
    assert (answer.status, answer.headers.get("Expires")) == (200, "600")
    odd = core.ask(request("REGISTER", "sip:gw.example.com", "Expires: soon"))
    assert (odd.status, odd.headers.get("Expires")) == (200, "0")
    other = request("REGISTER", "sip:gw", "Expires: 600")
    other.headers.set("To", "<sip:nobody@example.com>")
    assert code(core, other) == 404


def test_draining_takes_no_new_work(core, alice):
    alice.node.drain()
    assert code(core, message_to("alice")) == 503


# -- trust


def test_a_stranger_is_refused_whatever_he_asserts(core, alice):
    assert code(core, message_to("alice"), STRANGER) == 403
    assert pushed(alice) == []


def test_from_is_never_believed(core, alice):
    lines = ("Content-Type: text/plain",)
    unasserted = request("MESSAGE", "sip:alice@example.com", *lines, body=b"x")
    assert code(core, unasserted) == 403


@pytest.mark.parametrize(
    ("fields", "sender"),
    [
        ({PAI: "<sip:Eve@x.example>"}, "wv:Eve@x.example"),
        ({PAI: "<tel:+358401111111>, <sip:e@x.example>"}, "wv:e@x.example"),
        ({PAI: "<tel:112>, <tel:+358401111111>"}, "wv:+358401111111@example.com"),
        ({PAI: "<tel:+358401234567>"}, "wv:bob@example.com"),
        ({"Privacy": "id"}, "wv:anonymous@example.com"),
        ({"Privacy": "critical;USER"}, "wv:anonymous@example.com"),
        ({"Privacy": "none"}, "wv:dave@example.com"),
        ({PAI: "<sip:anonymous@anonymous.invalid>"}, "wv:anonymous@example.com"),
    ],
)
def test_who_the_handset_is_told_has_sent(core, node, fields, sender):
    known = subscriber("bob", msisdn="+358401234567")
    result_of(node.store.add_subscribers([known], replace=True))
    alice = Handset(node).open()
    assert code(core, message_to("alice", **fields)) == 200
    assert pushed(alice)[0].message_info.sender.user.user_id == sender


def test_an_identity_that_cannot_be_read_is_refused(core, alice):
    for value in ("<tel:112>", "<sip:host>", "<mailto:x@y>"):
        assert code(core, message_to("alice", P_Asserted_Identity=value)) == 403


# -- once


def test_a_repeat_is_answered_as_the_first_and_delivered_once(core, alice):
    first = message_to("alice")
    assert code(core, first) == 200
    assert code(core, again(first, "other")) == 200
    assert len(pushed(alice)) == 1
    assert pushed(alice) == []


def test_a_retransmission_gets_the_very_same_answer(core, alice):
    first = message_to("alice")
    core.receive(again(first, "same"))
    core.receive(again(first, "same"))
    one, two = core.responses[-2:]
    assert isinstance(one, Response) and one.headers == two.headers
    assert len(pushed(alice)) == 1


def test_a_repeat_after_a_restart_and_a_logout_is_answered_as_the_first(
    core, make, node, alice
):
    first = message_to("alice")
    assert code(core, first) == 200
    [offer] = alice.poll()
    alice.confirm(offer)
    alice.ask("<Logout-Request/>")
    other = Core()
    later = make(core=other, store=node.store, offline={"max_messages": 0})
    assert code(other, again(first, "later")) == 200
    assert pushed(Handset(later).open()) == []


def test_another_cseq_tag_or_recipient_is_another_message(core, alice):
    first = message_to("alice", "1")
    core.ask(first)
    for name, value in (
        ("CSeq", "2 MESSAGE"),
        ("From", "<sip:dave@example.com>;tag=other"),
        ("Call-ID", "another"),
    ):
        copy = again(first, f"x{name}")
        copy.headers.set(name, value)
        assert code(core, copy) == 200
    assert len([p for _ in range(5) for p in pushed(alice)]) == 4


# -- delivery


@pytest.mark.requirement("T-7.2-11")
def test_notify_and_pull_in_six_posts(core, node):
    alice = Handset(node).open(method="N")
    assert code(core, message_to("alice", "hé")) == 200
    [offer] = alice.poll()
    announced: Any = offer.primitive
    assert announced.NAME == "MessageNotification"
    message_id = announced.message_info.message_id
    assert alice.answer(offer, status()) is None and alice.reply.body == b""
    get = (
        f"<GetMessage-Request><MessageID>{message_id}</MessageID></GetMessage-Request>"
    )
    got = alice.ask(get)
    assert got.content_data == "hé"
    assert alice.code(delivered(message_id)) == 200
    assert alice.code(get) == 426
    assert alice.poll() == []


@pytest.mark.parametrize("version", list(Version))
def test_what_waits_is_listed_and_rejected(core, node, version):
    for text in ("one", "two", "three"):
        core.ask(message_to("alice", text))
    alice = Handset(node, version=version).open(method="N")
    listed = alice.ask("<GetMessageList-Request/>")
    infos = listed.message_info
    if version is Version.V1_3:
        infos = listed.message_info_list.message_info
    ids = [info.message_id for info in infos]
    assert len(ids) == 3
    reject = "".join(f"<MessageID>{i}</MessageID>" for i in (ids[0], "none"))
    result = alice.ask(
        f"<RejectMessage-Request>{reject}</RejectMessage-Request>"
    ).result
    assert result.code == 201
    named = () if version is Version.V1_1 else ("none",)  # 1.1 has no place for it
    assert result.detailed_result[0].message_id == named
    assert (
        alice.code(
            "<RejectMessage-Request><MessageID>none</MessageID></RejectMessage-Request>"
        )
        == 426
    )
    left = [p.message_info.message_id for _ in range(3) for p in pushed(alice)]
    assert left == ids[1:]


def test_the_method_may_change_within_a_session(core, alice):
    change = "<SetDeliveryMethod-Request><DeliveryMethod>{}</DeliveryMethod></SetDeliveryMethod-Request>"  # noqa: E501
    core.ask(message_to("alice", "before"))
    assert alice.code(change.format("N")) == 200
    core.ask(message_to("alice", "after"))
    names = [p.NAME for _ in range(3) for p in pushed(alice)]
    assert names[-1] == "MessageNotification"
    assert alice.code(change.format("X")) == 402


@pytest.mark.parametrize(
    ("kind", "body", "encoding", "data"),
    [
        ("text/plain;charset=ISO-8859-1", b"h\xe9", None, "hé"),
        ("text/plain;charset=utf-16", "hé".encode("utf-16"), None, "hé"),
        ("text/plain", b"\xff\xfe\xfd", "BASE64", "//79"),
        ("image/gif", b"\x00\x01\xff", "BASE64", "AAH/"),
        ("text/plain;charset=utf-7", b"+2AA-", "BASE64", "KzJBQS0="),
    ],
)
def test_contents_reach_the_handset(core, alice, kind, body, encoding, data):
    sent = message_to("alice", Content_Type=kind)
    sent.body = body
    assert code(core, sent) == 200
    [primitive] = pushed(alice)
    assert primitive.content_data == data
    assert primitive.message_info.content_encoding in (
        encoding,
        "None" if encoding is None else encoding,
    )
    assert primitive.message_info.content_size == len(body)


def test_a_date_beyond_all_calendars_blocks_no_mailbox(core, alice):
    bad = message_to("alice", "bad", Date="Fri, 31 Dec 9999 23:59:59 -1200")
    assert code(core, bad) == 400
    assert code(core, message_to("alice", "good")) == 200
    assert [p.content_data for p in pushed(alice)] == ["good"]


def test_what_expires_is_offered_to_nobody(clock, core, node):
    assert code(core, message_to("alice", Expires="60")) == 202
    clock.pump([5.0] * 13)
    assert pushed(Handset(node).open()) == []


def test_the_session_of_the_highest_priority_gets_it(core, node):
    def priority(number):
        return f"<SessionPriority>{number}</SessionPriority>"

    low = Handset(node, version=Version.V1_3, client="http://h/1")
    high = Handset(node, version=Version.V1_3, client="http://h/2")
    low.open(extra=priority(1))
    high.open(extra=priority(9))
    core.ask(message_to("alice", "x"))
    assert pushed(low) == []
    assert [p.content_data for p in pushed(high)] == ["x"]
    high.ask("<Logout-Request/>")
    assert [p.content_data for p in pushed(low)] == ["x"]


def test_the_first_confirmation_ends_it_for_the_others(core, node, alice):
    other = Handset(node, client="http://h/2").open()
    core.ask(message_to("alice", "x"))
    [offer] = alice.poll()
    alice.confirm(offer)
    assert pushed(other) == []


# -- what is not ours


def test_what_came_for_others_goes_back_to_the_core(core, alice):
    passing = message_to(
        "alice", Route="<sip:127.0.0.1:5062;lr>, <sip:127.0.0.1:5060;lr;x=1>"
    )
    passing.uri = "sip:dave@example.com"
    assert code(core, passing) == 200
    [sent] = core.of("MESSAGE")
    assert sent.headers.values("Route") == ["<sip:127.0.0.1:5060;lr;x=1>"]
    assert sent.headers.get("Max-Forwards") == "69"
    assert len(sent.headers.values("Via")) == 2
    assert len(core.responses[-1].headers.values("Via")) == 1


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (None, 404),
        ("<sip:127.0.0.1:5062;lr>", 404),
        ("<sip:127.0.0.9:5062;lr>, <sip:127.0.0.1:5060;lr>", 404),
        ("<sip:127.0.0.1:5062;lr>, <mailto:x>", 400),
    ],
)
def test_without_a_route_for_it_nothing_is_passed_on(core, node, route, expected):
    fields = {} if route is None else {"Route": route}
    passing = message_to("alice", **fields)
    passing.uri = "sip:dave@example.com"
    assert code(core, passing) == expected
    assert core.of("MESSAGE") == []


def test_too_many_hops(core, node):
    route = "<sip:127.0.0.1:5062;lr>, <sip:127.0.0.1:5060;lr>"
    passing = message_to("alice", Route=route, Max_Forwards="0")
    passing.uri = "sip:dave@example.com"
    assert code(core, passing) == 483


def test_what_comes_back_twice_is_a_loop(core, node):
    """Once is what an application server is there for."""
    route = "<sip:127.0.0.1:5062;lr>, <sip:127.0.0.1:5060;lr>"
    ours = "SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bKours"
    for times, expected in ((1, 200), (2, 482)):
        passing = message_to("alice", Route=route)
        passing.uri = "sip:dave@example.com"
        top = passing.headers.values("Via")
        passing.headers.set_all("Via", [*top, *[ours] * times])
        assert code(core, passing) == expected


def test_a_next_hop_that_is_silent_is_408(clock, core, node):
    core.script = lambda r: None
    route = "<sip:127.0.0.1:5062;lr>, <sip:127.0.0.1:5060;lr>"
    passing = message_to("alice", Route=route)
    passing.uri = "sip:dave@example.com"
    assert core.ask(passing) is None
    clock.pump([0.5] * 66)
    assert core.of("MESSAGE")


def test_a_message_for_a_subscriber_is_delivered_on_the_leg_on_which_it_came(
    core, alice
):
    route = "<sip:127.0.0.1:5062;lr>, <sip:127.0.0.1:5060;lr>"
    assert code(core, message_to("alice", Route=route)) == 200
    assert core.of("MESSAGE") == []
    assert len(pushed(alice)) == 1
