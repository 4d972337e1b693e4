"""Messages of handsets: the answer in its own POST, the hold, order, restarts."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gateway.csp import xmlsyntax
from gateway.csp.schema import Version
from gateway.errors import Unreachable
from gateway.sip.message import Request
from tests.services.doubles import (
    Core,
    Handset,
    message_to,
    result_of,
    send_message,
    status,
)


def post(handset: Handset, *contents: str) -> list[Any]:
    """Post requests at once; what their replies say is put into the list."""
    found: list[Any] = []

    def read(reply):
        message = xmlsyntax.decode(reply.body)
        found.extend(
            t.primitive for t in message.transactions if t.mode.value != "Request"
        )

    body = handset.body(*[handset.transaction(content) for content in contents])
    d: Deferred[Any] = handset.begin(body)
    d.addCallback(read)
    return found


def silent(request: Request) -> int | None:
    return None if request.method == "MESSAGE" else 200


def texts(core: Core) -> list[str]:
    return [request.body.decode() for request in core.of("MESSAGE")]


def several(*users: str, text: str = "hi") -> str:
    names = "".join(f"<User><UserID>{user}</UserID></User>" for user in users)
    one = "<User><UserID>wv:dave@example.com</UserID></User>"
    return send_message(text).replace(one, names, 1)


# -- the answer


@pytest.mark.requirement("M-6.1.3.1-05")
def test_the_answer_of_the_core_is_that_of_the_post(core, alice):
    response = alice.ask(send_message("hé"))
    assert response.result.code == 200 and len(response.message_id) == 22
    [sent] = core.of("MESSAGE")
    assert (sent.uri, sent.body) == ("sip:dave@example.com", "hé".encode())
    assert sent.headers.get("P-Asserted-Identity") == "<sip:alice@example.com>"


@pytest.mark.parametrize(
    ("sip", "csp"),
    [
        (202, 200),
        (403, 532),
        (404, 531),
        (410, 531),
        (413, 432),
        (415, 415),
        (480, 533),
        (408, 504),
        (500, 500),
        (503, 503),
        (603, 538),
        (301, 410),
        (302, 410),
        (412, 400),
        (699, 538),
    ],
)
def test_a_refusal_of_the_core_is_told(core, alice, sip, csp):
    core.script = lambda r: sip if r.method == "MESSAGE" else 200
    assert alice.code(send_message("x")) == csp


def test_stored_is_told_as_such_from_1_3_on(core, node):
    core.script = lambda r: 202 if r.method == "MESSAGE" else 200
    handset = Handset(node, version=Version.V1_3).open()
    assert handset.code(send_message("x")) == 202


def test_a_redirection_is_followed_through_the_core(core, alice):
    def script(request):
        if request.uri != "sip:dave@example.com":
            return 200
        response = request.response(302, tag="c")
        response.headers.set("Contact", "<sip:dave@elsewhere.example;transport=tcp>")
        return response

    core.script = script
    assert alice.code(send_message("x")) == 200
    assert core.of("MESSAGE")[-1].uri == "sip:dave@elsewhere.example"


def test_redirections_in_a_circle_come_to_an_end(core, alice):
    count = iter(range(1000))

    def script(request):
        response = request.response(302, tag="c")
        response.headers.set("Contact", f"<sip:d{next(count)}@elsewhere.example>")
        return response

    core.script = script
    assert alice.code(send_message("x")) == 410
    assert len(core.of("MESSAGE")) < 8


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("wv:dave@example.com;maddr=x", 901),
        ("wv:dave@exa mple.com", 901),
        ("mailto:dave@example.com", 901),
        ("wv:alice/friends@example.com", 901),
        ("wv:@example.com", 901),
    ],
)
def test_what_is_no_user_is_told(core, alice, to, code):
    assert alice.code(send_message("x", to)) == code
    assert core.of("MESSAGE") == []


@pytest.mark.parametrize("to", ["sip:Dave@example.com", "dave", "WV:DAVE@EXAMPLE.com"])
def test_every_spelling_of_a_user_reaches_him(core, alice, to):
    assert alice.code(send_message("x", to)) == 200
    assert core.of("MESSAGE")[0].uri == "sip:dave@example.com"


def test_a_number_is_sent_as_one(core, alice):
    assert alice.code(send_message("x", "wv:+358401234567")) == 200
    assert core.of("MESSAGE")[0].uri == "sip:+358401234567@example.com;user=phone"


def test_validity_and_date_go_along(core, alice):
    extra = "<DateTime>20050304T030607Z</DateTime><Validity>600</Validity>"
    assert alice.code(send_message("x", extra=extra)) == 200
    [sent] = core.of("MESSAGE")
    assert sent.headers.get("Date") == "Fri, 04 Mar 2005 03:06:07 GMT"
    assert sent.headers.get("Expires") == "600"


def test_base64_arrives_as_bytes(core, alice):
    content = send_message("AAH/").replace("text/plain", "image/gif")
    content = content.replace(
        "</MessageInfo>",
        "</MessageInfo>",
    ).replace("<ContentSize>", "<ContentEncoding>BASE64</ContentEncoding><ContentSize>")
    assert alice.code(content) == 200
    [sent] = core.of("MESSAGE")
    assert (sent.content_type, sent.body) == ("image/gif", b"\x00\x01\xff")


def test_too_large_a_message_is_432(core, make):
    node = make(offline={"max_size": "1KiB"})
    assert Handset(node).open().code(send_message("x" * 1025)) == 432
    assert core.of("MESSAGE") == []


# -- several recipients


def test_several_recipients_get_one_each(core, alice):
    response = alice.ask(several("wv:d1@example.com", "wv:d2@example.com"))
    assert response.result.code == 200 and not response.result.detailed_result
    assert len(core.of("MESSAGE")) == 2


def test_some_that_cannot_be_reached_are_named(core, alice):
    core.script = lambda r: 404 if "d2" in r.uri else 200
    users = ("wv:d1@example.com", "wv:d2@example.com", "wv:bad@a b")
    result = alice.ask(several(*users)).result
    assert result.code == 201
    details = {d.code: d.user_id for d in result.detailed_result}
    assert details == {531: ("wv:d2@example.com",), 901: ("wv:bad@a b",)}


def test_none_that_can_be_reached_is_900(core, alice):
    core.script = lambda r: 408 if r.method == "MESSAGE" else 200
    result = alice.ask(several("wv:d1@example.com", "wv:d2@example.com")).result
    assert result.code == 900
    assert [d.code for d in result.detailed_result] == [410]


def test_what_fails_for_one_is_no_matter_of_the_others(clock, core, alice, monkeypatch):
    """One recipient's hold ends in a store that is away; the other one has his."""
    core.script = lambda r: None if "d2" in r.uri else 200

    async def away(message, limits=None):
        raise Unreachable("the store is down")

    monkeypatch.setattr(alice.node.store, "add_message", away)
    found = post(alice, several("wv:d1@example.com", "wv:d2@example.com"))
    clock.pump([1.0] * 9)
    [response] = found
    assert response.result.code == 201
    assert [d.code for d in response.result.detailed_result] == [503]


def test_too_many_recipients_are_403(core, alice):
    assert alice.code(several(*[f"wv:d{n}@example.com" for n in range(51)])) == 403


# -- hold


def test_a_slow_core_is_answered_for_after_the_hold(clock, core, alice):
    core.script = silent
    found = post(alice, send_message("x"))
    clock.advance(7.9)
    assert found == []
    clock.advance(0.2)
    assert [r.result.code for r in found] == [200]
    [waiting] = result_of(alice.node.store.waiting_to_sip())
    assert waiting.content == b"x"


def test_an_answer_that_comes_after_the_hold_ends_it(clock, core, alice):
    core.script = silent
    post(alice, send_message("x"))
    clock.advance(8.1)
    core.receive(core.of("MESSAGE")[0].response(200, tag="c"))
    assert result_of(alice.node.store.waiting_to_sip()) == []
    core.script = lambda r: 200
    clock.pump([1.0] * 40)
    assert len({r.call_id for r in core.of("MESSAGE")}) == 1
    assert alice.poll() == []


def test_a_failure_after_the_hold_reaches_the_sender(clock, core, alice):
    core.script = silent
    [response] = post(alice, send_message("x")) or [None]
    clock.advance(8.1)
    core.receive(core.of("MESSAGE")[0].response(404, tag="c"))
    [offer] = alice.poll()
    assert offer.primitive.NAME == "DeliveryReport-Request"
    assert offer.primitive.result.code == 531
    alice.answer(offer, status())
    clock.advance(60)
    assert alice.poll() == []


def test_a_core_that_comes_back_gets_what_waits_in_order(clock, core, alice):
    core.script = silent
    for text in "abc":
        post(alice, send_message(text))
    clock.pump([1.0] * 45)
    core.requests.clear()
    core.script = lambda r: 200
    clock.pump([1.0] * 45)
    assert texts(core)[-3:] == ["a", "b", "c"]
    assert result_of(alice.node.store.waiting_to_sip()) == []


def test_messages_of_one_post_keep_their_order_over_the_hold(clock, core, node):
    alice = Handset(node).open(multi=8)
    core.script = silent
    found = post(alice, *[send_message(text) for text in "abcd"])
    clock.advance(5)
    core.receive(core.of("MESSAGE")[0].response(200, tag="c"))
    clock.pump([0.5] * 8)
    assert [r.result.code for r in found] == [200] * 4
    queued = result_of(node.store.waiting_to_sip())
    assert [m.content for m in queued] == [b"b", b"c", b"d"]
    core.script = lambda r: 200
    clock.pump([1.0] * 45)
    order = list(dict.fromkeys(texts(core)))
    assert order == ["a", "b", "c", "d"]


def test_one_slow_recipient_holds_up_no_other(clock, core, node):
    alice = Handset(node).open(multi=8)
    core.script = lambda r: None if "slow" in r.uri else 200
    post(alice, send_message("1", "wv:slow@example.com"))
    assert alice.code(send_message("2", "wv:fast@example.com")) == 200


def test_many_in_a_row_are_all_taken(clock, core, node):
    """The limit is on those that wait now, not on all since the line was idle."""
    alice = Handset(node, client="http://h/2").open(multi=8)
    core.script = silent
    found = [post(alice, send_message("0"))]
    for number in range(1, 100):
        found.append(post(alice, send_message(str(number))))
        core.receive(core.of("MESSAGE")[-1].response(200, tag="c"))
    core.receive(core.of("MESSAGE")[-1].response(200, tag="c"))
    assert [f[0].result.code for f in found] == [200] * 100
    assert node.sending._turns == {}


def test_too_many_that_wait_are_told_to_try_later(core, node):
    alice = Handset(node).open(multi=8)
    core.script = silent
    for number in range(33):  # one in flight, and those behind it
        assert post(alice, send_message(str(number))) == []
    [refused] = post(alice, send_message("33"))
    assert refused.result.code == 503


def test_a_store_that_is_away_after_the_hold_is_told(clock, core, alice, monkeypatch):
    core.script = silent

    async def away(message, limits=None):
        raise Unreachable("the store is down")

    monkeypatch.setattr(alice.node.store, "add_message", away)
    found = post(alice, send_message("x"))
    clock.pump([1.0] * 9)
    assert [r.result.code for r in found] == [503]
    clock.pump([1.0] * 40)  # the attempt ends by itself, with nobody who waits


def test_timer_f_is_told_as_such(clock, core, make):
    node = make(gateway={"hold": 60})
    core.script = silent
    found = post(Handset(node).open(), send_message("x"))
    clock.pump([0.5] * 66)
    assert [r.result.code for r in found] == [504]


# -- the outbox over time


def test_what_was_acknowledged_outlives_the_node(clock, core, make, node, alice):
    core.script = silent
    for text in "ab":
        post(alice, send_message(text))
    clock.advance(8.1)
    call_ids = [m.id for m in result_of(node.store.waiting_to_sip())]
    again = Core()
    make(core=again, store=node.store, name="node-1")
    assert texts(again) == ["a", "b"]
    assert [r.call_id for r in again.of("MESSAGE")] == call_ids
    assert result_of(node.store.waiting_to_sip()) == []


def test_what_expires_is_reported_once(clock, core, make):
    node = make(session={"keep_alive_min": 86400, "keep_alive": 86400})
    alice = Handset(node).open()
    core.script = silent
    post(alice, send_message("x", extra="<Validity>60</Validity>"))
    clock.pump([5.0] * 30)
    [offer] = alice.poll()
    primitive: Any = offer.primitive
    assert primitive.result.code == 542
    alice.answer(offer, status())
    clock.pump([5.0] * 30)
    assert alice.poll() == []
    assert result_of(node.store.waiting_to_sip()) == []


def test_a_defect_with_one_message_does_not_stop_those_behind(
    clock, core, alice, failures
):
    core.script = silent
    post(alice, send_message("poison"))
    clock.advance(8.1)
    post(alice, send_message("good"))
    real = alice.node.outbox.attempt

    def broken(message):
        if message.content == b"poison":
            raise KeyError("call_id")
        return real(message)

    alice.node.outbox.attempt = broken
    core.script = lambda r: 200
    core.receive(core.of("MESSAGE")[0].response(500, tag="c"))
    clock.pump([1.0] * 60)
    assert texts(core)[-1] == "good"
    assert result_of(alice.node.store.waiting_to_sip()) == []
    [offer] = alice.poll()
    assert offer.primitive.result.code == 500
    assert failures
    failures.clear()


def test_draining_answers_what_is_held(clock, core, alice):
    core.script = silent
    found = post(alice, send_message("x"))
    alice.node.drain()
    assert [r.result.code for r in found] == [200]
    assert len(result_of(alice.node.store.waiting_to_sip())) == 1


# -- ForwardMessage


def test_a_message_is_sent_on_unread(core, alice):
    assert core.ask(message_to("alice", "secret", Date="Fri, 04 Mar 2005 03:06:07 GMT"))
    [offer] = alice.poll()
    message_id = offer.primitive.message_info.message_id
    recipient = (
        "<Recipient><User><UserID>wv:dave@example.com</UserID></User></Recipient>"
    )
    forward = (
        f"<ForwardMessage-Request><MessageID>{message_id}</MessageID>{recipient}"
        "</ForwardMessage-Request>"
    )
    core.script = lambda r: 404
    assert alice.code(forward) == 531
    core.script = lambda r: 200
    assert alice.code(forward) == 200
    sent = core.of("MESSAGE")[-1]
    assert sent.body == b"secret"
    assert sent.headers.get("Date") == "Fri, 04 Mar 2005 03:06:07 GMT"
    assert alice.code(forward) == 426
    assert alice.code(forward.replace(message_id, "none")) == 426
