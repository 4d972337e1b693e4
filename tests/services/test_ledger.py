"""The history of a message has every step of its way, with the ids of both sides."""

from __future__ import annotations

from gateway.sip.message import Request
from tests.services.doubles import Handset, delivered, message_to, result_of

ALICE = "sip:alice@example.com"
SEND = (
    "<SendMessage-Request><DeliveryReport>F</DeliveryReport><MessageInfo>"
    "<ContentSize>5</ContentSize><Recipient><User><UserID>wv:dave@example.com</UserID>"
    "</User></Recipient><Sender><User><UserID>wv:alice@example.com</UserID></User>"
    "</Sender></MessageInfo><ContentData>hello</ContentData></SendMessage-Request>"
)


def told(node, user: str = ALICE) -> list[list[tuple[str, dict]]]:
    """Give the histories of a user's messages, newest first, without their times."""
    ids = result_of(node.store.messages_of(user))
    return [
        [(entry.event, entry.detail) for entry in result_of(node.store.history(each))]
        for each in ids
    ]


def test_a_message_that_the_core_took_at_once(alice, core):
    assert alice.code(SEND) == 200
    (request,) = core.of("MESSAGE")
    assert told(alice.node) == [[("sent", {"to": "sip:dave@example.com"})]]
    assert result_of(alice.node.store.messages_of(ALICE)) == [request.call_id]


def test_a_message_that_the_core_refused(alice, core):
    core.script = lambda request: 404
    assert alice.code(SEND) == 531
    ((entry,),) = told(alice.node)
    assert entry[0] == "refused"
    assert entry[1]["reason"] == "SIP 404"


def test_a_message_that_was_held_and_tried_again(alice, core, clock):
    tries: list[str] = []

    def script(request: Request) -> int | None:
        if request.method != "MESSAGE":
            return 200
        if request.via.branch not in tries:
            tries.append(request.via.branch)
        return [None, 503, 200][tries.index(request.via.branch)]

    core.script = script
    reply = alice.begin(alice.body(alice.transaction(SEND)))
    clock.pump([1] * 9)
    alice.read(result_of(reply))
    clock.pump([1] * 60)
    (history,) = told(alice.node)
    assert [event for event, _ in history] == [
        "accepted",
        "tried",
        "tried",
        "delivered",
    ]
    assert result_of(alice.node.store.messages_of(ALICE)) == [
        core.of("MESSAGE")[0].call_id
    ]
    assert history[-1][1]["reason"] == "SIP 200"


def test_a_message_that_was_pushed_and_confirmed(alice, core, clock):
    request = message_to("alice")
    assert core.ask(request).status == 200
    (offer,) = alice.poll()
    clock.advance(1)
    alice.confirm(offer)
    (history,) = told(alice.node)
    assert [event for event, _ in history] == ["accepted", "pushed", "delivered"]
    assert history[0][1] == {
        "call_id": request.call_id,
        "from": "wv:dave@example.com",
    }
    assert alice.session is not None
    assert history[1][1] == {"session": alice.session[:6]}


def test_a_message_that_was_stored_announced_fetched_and_confirmed(node, core, clock):
    assert core.ask(message_to("bob")).status == 202
    clock.advance(1)
    bob = Handset(node, user="wv:bob@example.com", client="http://bob.example.com")
    bob.login()
    bob.negotiate(method="N")
    offers = bob.poll()
    while not offers:
        offers = bob.poll()
    message_id = offers[0].primitive.message_info.message_id  # type: ignore[attr-defined]
    clock.advance(1)
    bob.ask(
        f"<GetMessage-Request><MessageID>{message_id}</MessageID></GetMessage-Request>"
    )
    clock.advance(1)
    assert bob.code(delivered(message_id)) == 200
    (history,) = told(node, "sip:bob@example.com")
    assert [event for event, _ in history] == [
        "stored",
        "announced",
        "fetched",
        "delivered",
    ]


def test_a_message_that_expired(node, core, clock):
    assert core.ask(message_to("bob", Expires="60")).status == 202
    clock.pump([5] * 14)
    (history,) = told(node, "sip:bob@example.com")
    assert [event for event, _ in history] == ["stored", "expired"]
