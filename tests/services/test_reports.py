"""A failure after 200 reaches its sender, whatever comes in between."""

from __future__ import annotations

from gateway.csp.messaging import DeliveryReportRequest
from tests.services.doubles import Handset, open_store, result_of
from tests.services.test_ledger import SEND, told

STATUS = "<Status><Result><Code>200</Code></Result></Status>"


def fail_later(handset, core, clock) -> None:
    """Send a message that is held, and then refused by the core."""
    core.script = lambda request: None if request.method == "MESSAGE" else 200
    reply = handset.begin(handset.body(handset.transaction(SEND)))
    clock.pump([1] * 9)
    result = handset.read(result_of(reply)).transactions[0].primitive
    assert result.result.code == 200
    core.script = lambda request: 404 if request.method == "MESSAGE" else 200
    clock.pump([1] * 60)


def test_a_sender_who_is_there_hears_of_it_and_confirms(alice, core, clock):
    fail_later(alice, core, clock)
    (offer,) = alice.poll()
    report = offer.primitive
    assert isinstance(report, DeliveryReportRequest)
    assert report.result.code == 531
    assert report.message_info.recipient.user[0].user_id == "wv:dave@example.com"
    alice.answer(offer, STATUS)
    clock.advance(31)
    assert alice.poll() == []


def test_a_report_has_the_id_by_which_the_sender_knows_the_message(alice, core, clock):
    dave = "<User><UserID>wv:dave@example.com</UserID></User>"
    erin = dave.replace("dave", "erin")
    core.script = lambda request: None if request.method == "MESSAGE" else 200
    reply = alice.begin(
        alice.body(alice.transaction(SEND.replace(dave, f"{dave}{erin}")))
    )
    clock.pump([1] * 9)
    sent = alice.read(result_of(reply)).transactions[0].primitive
    assert sent.result.code == 200
    core.script = lambda request: 404 if request.method == "MESSAGE" else 200
    clock.pump([1] * 60)
    offers = alice.poll() + alice.poll()
    infos = [offer.primitive.message_info for offer in offers]
    assert {info.recipient.user[0].user_id for info in infos} == {
        "wv:dave@example.com",
        "wv:erin@example.com",
    }
    assert {info.message_id for info in infos} == {sent.message_id}
    own = result_of(alice.node.store.messages_of("sip:alice@example.com"))
    assert len(own) == 2 and sent.message_id in own
    named = [detail.get("sent_as") for (_, detail), *_ in told(alice.node)]
    assert sorted(named, key=str) == sorted((None, sent.message_id), key=str)


def test_a_report_waits_for_a_sender_who_left(alice, core, clock):
    fail_later(alice, core, clock)
    alice.ask("<Logout-Request/>")
    again = Handset(alice.node).open()
    (offer,) = again.poll()
    assert isinstance(offer.primitive, DeliveryReportRequest)


def test_a_report_outlives_the_process(make, core, clock):
    store = open_store(clock)
    alice = Handset(make(store=store)).open()
    fail_later(alice, core, clock)
    node = make(store=store, name="node-2")
    session = result_of(node.sessions.find(alice.session))
    assert session is not None
    survivor = Handset(node, session=alice.session)
    (offer,) = survivor.poll()
    assert isinstance(offer.primitive, DeliveryReportRequest)


def test_a_report_is_no_message_to_list_get_or_reject(alice, core, clock):
    fail_later(alice, core, clock)
    listed = alice.ask("<GetMessageList-Request/>")
    assert listed.message_info == ()
    ids = result_of(alice.node.store.messages("sip:alice@example.com"))
    for name in ("GetMessage", "RejectMessage"):
        asked = f"<{name}-Request><MessageID>{ids[0].id}</MessageID></{name}-Request>"
        assert alice.code(asked) == 426


def test_a_message_that_expires_in_the_outbox_is_reported(alice, core, clock):
    core.script = lambda request: None if request.method == "MESSAGE" else 200
    short = SEND.replace("</MessageInfo>", "<Validity>60</Validity></MessageInfo>")
    reply = alice.begin(alice.body(alice.transaction(short)))
    clock.pump([1] * 9)
    result_of(reply)
    clock.pump([1] * 120)
    (offer,) = alice.poll()
    assert offer.primitive.result.code == 542
    (history,) = told(alice.node)
    assert history[-1][0] == "expired"
