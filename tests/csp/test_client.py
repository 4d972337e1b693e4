"""The handset's half: what it says, when, and what it makes of the answers."""

from __future__ import annotations

import pytest

from gateway.csp.client import (
    Account,
    Answered,
    Arrived,
    Client,
    Closed,
    Notified,
    Opened,
    State,
)
from gateway.csp.common import (
    AgreedCapabilityList,
    CapabilityList,
    ClientCapabilityRequest,
    ClientCapabilityResponse,
    ClientID,
    Disconnect,
    Group,
    KeepAliveRequest,
    KeepAliveResponse,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    PollingRequest,
    Recipient,
    Result,
    ScreenName,
    Sender,
    ServiceRequest,
    ServiceResponse,
    Status,
    User,
)
from gateway.csp.digest import digest_bytes
from gateway.csp.envelope import Faulty, Message, Mode, Transaction, Version
from gateway.csp.messaging import (
    DeliveryReportRequest,
    GetMessageRequest,
    GetMessageResponse,
    MessageDelivered,
    MessageInfo,
    MessageNotification,
    NewMessage,
    SendMessageRequest,
    SendMessageResponse,
)

ALICE = Account(user_id="wv:alice@example.com", password="secret")
CLIENT_ID = ClientID(url="imps-gateway:handset")


def result(code: int, description: str | None = None) -> Result:
    return Result(code=code, description=description)


class Line:
    """A client and the other end of its line; ``now`` is the clock."""

    def __init__(self, version=Version.V1_2, account=ALICE, **options):
        self.client = Client(account, version=version, **options)
        self.now = 0.0

    def said(self):
        """Take the next message; give its primitive and its transaction."""
        message = self.client.data_to_send()
        assert message is not None
        (self.transaction,) = message.transactions
        assert message.version is self.client.version
        self.session_id = message.session_id
        return self.transaction.primitive

    def reply(self, *primitives, poll=None):
        """Reply with the answer to what was said last, then with requests."""
        transactions = [
            Transaction(id=self.transaction.id, mode=Mode.RESPONSE, primitive=primitive)
            for primitive in primitives
        ]
        self.give(*transactions, poll=poll)

    def give(self, *transactions, poll=None):
        self.client.receive(
            Message(
                version=self.client.version,
                session_id=self.session_id,
                transactions=transactions,
                poll=poll,
            ),
            self.now,
        )

    def nothing(self):
        self.client.receive(None, self.now)

    def offer(self, transaction_id, primitive):
        self.give(
            Transaction(id=transaction_id, mode=Mode.REQUEST, primitive=primitive)
        )

    def events(self):
        found = []
        while (event := self.client.next_event()) is not None:
            found.append(event)
        return found

    def open(self, server_poll_min=None):
        """Go through a login of two answers and both negotiations."""
        self.client.login()
        self.said()
        self.reply(accepted())
        assert isinstance(self.said(), ClientCapabilityRequest)
        agreed = AgreedCapabilityList(server_poll_min=server_poll_min)
        self.reply(ClientCapabilityResponse(agreed_capability_list=agreed))
        assert isinstance(self.said(), ServiceRequest)
        self.reply(ServiceResponse())
        assert self.events() == [Opened("s1", 900)]
        assert self.client.state is State.OPEN
        return self


def accepted() -> LoginResponse:
    return LoginResponse(
        client_id=CLIENT_ID, result=result(200), session_id="s1", keep_alive_time=900
    )


def challenge(code: int, schema: str) -> LoginResponse:
    return LoginResponse(
        client_id=CLIENT_ID,
        result=result(code),
        nonce="92387rhf",
        digest_schema=schema,
    )


def info(message_id="m1", **fields) -> MessageInfo:
    fields.setdefault("sender", Sender(user=User(user_id="wv:bob@example.com")))
    return MessageInfo(
        message_id=message_id,
        content_size=2,
        recipient=Recipient(user=(User(user_id=ALICE.user_id),)),
        **fields,
    )


def test_the_digests_are_those_of_the_reference():
    assert digest_bytes("MD5", "92387rhf", "secret") == "Z0dxyGY9piGi2UT1AUDonA=="
    assert digest_bytes("SHA", "92387rhf", "secret") == "7HUjGsG7cPf/nZK3djt2N2lJ4PU="
    assert digest_bytes("MD5", "n", "\u00e9") != digest_bytes("MD5", "n", "\u20ac")


@pytest.mark.parametrize("code", [200, 401])
@pytest.mark.parametrize(
    ("schema", "digest"),
    [("MD5", "Z0dxyGY9piGi2UT1AUDonA=="), ("SHA", "7HUjGsG7cPf/nZK3djt2N2lJ4PU=")],
)
def test_four_steps_to_a_session(code, schema, digest):
    line = Line()
    line.client.login()
    first = line.said()
    assert isinstance(first, LoginRequest)
    assert (first.digest_schema, first.password) == (("SHA", "MD5"), None)
    assert [line.session_id] == [None]
    line.reply(challenge(code, schema))
    second = line.said()
    assert (second.digest_bytes, second.digest_schema) == (digest, ())
    line.reply(accepted())
    line.said()
    assert line.session_id == "s1"
    assert line.client.keep_alive == 900


def test_two_steps_send_the_password():
    line = Line(account=Account(user_id="wv:alice", password="secret", schemas=()))
    line.client.login()
    request = line.said()
    assert (request.password, request.digest_schema) == ("secret", ())


def test_in_1_1_the_schemas_share_one_element():
    line = Line(Version.V1_1)
    line.client.login()
    assert line.said().digest_schema == ("SHA,MD5",)


def test_a_password_goes_out_only_to_a_server_that_may_have_it():
    line = Line()
    line.client.login()
    line.said()
    line.reply(challenge(401, "PWD"))
    assert line.client.data_to_send() is None
    (event,) = line.events()
    assert (type(event), event.code) == (Closed, 543)
    willing = Line(account=Account(user_id="a", password="p", schemas=("PWD",)))
    willing.client.login()
    willing.said()
    willing.reply(challenge(401, "PWD"))
    assert willing.said().password == "p"


@pytest.mark.parametrize(
    "answer",
    [
        LoginResponse(client_id=CLIENT_ID, result=result(409, "wrong password")),
        Status(result=result(409, "wrong password")),
        Faulty(name="Login-Reply", code=409, description="wrong password"),
    ],
)
def test_a_refused_login_closes(answer):
    line = Line()
    line.client.login()
    line.said()
    line.reply(answer)
    assert line.events() == [Closed(409, "wrong password", refused=True)]
    assert line.client.state is State.CLOSED
    assert line.client.data_to_send() is None


def test_a_second_challenge_is_a_refusal():
    line = Line()
    line.client.login()
    line.said()
    line.reply(challenge(401, "MD5"))
    line.said()
    line.reply(challenge(401, "MD5"))
    assert line.events() == [Closed(401, "", refused=True)]


def test_the_server_sets_the_pace_of_polling():
    line = Line(poll_interval=3).open(server_poll_min=20)
    assert line.client.next_timer() == 20
    line.client.handle_timer(19.9)
    assert line.client.data_to_send() is None
    line.client.handle_timer(20)
    assert isinstance(line.said(), PollingRequest)
    line.now = 21.0
    line.nothing()
    assert line.client.next_timer() == 41


def test_1_1_answers_with_the_full_capability_list():
    line = Line(Version.V1_1)
    line.client.login()
    line.said()
    line.reply(accepted())
    line.said()
    agreed = CapabilityList(
        client_type="COMPUTER", initial_delivery_method="P", server_poll_min=30
    )
    line.reply(ClientCapabilityResponse(client_id=CLIENT_ID, capability_list=agreed))
    line.said()
    line.reply(ServiceResponse(client_id=CLIENT_ID))
    assert line.client.next_timer() == 30


def test_refused_negotiations_do_not_stop_a_handset():
    line = Line()
    line.client.login()
    line.said()
    line.reply(accepted())
    line.said()
    line.reply(Status(result=result(405)))
    line.said()
    line.reply(Status(result=result(405)))
    assert line.events() == [Opened("s1", 900)]


def test_a_text_is_sent_and_its_answer_reported():
    line = Line().open()
    sent = line.client.send_text("wv:bob@example.com", "hello", delivery_report=True)
    request = line.said()
    assert isinstance(request, SendMessageRequest)
    assert request.delivery_report is True
    assert request.content_data == "hello"
    assert request.message_info.content_size == 5
    assert request.message_info.recipient.user[0].user_id == "wv:bob@example.com"
    assert line.transaction.id == sent
    answer = SendMessageResponse(result=result(200), message_id="m9")
    line.reply(answer)
    assert line.events() == [Answered(sent, answer, 200, "")]


def test_a_refusal_is_an_answer_with_its_code():
    line = Line().open()
    sent = line.client.send_text("wv:nobody@example.com", "hello")
    line.said()
    status = Status(result=result(531, "unknown user"))
    line.reply(status)
    assert line.events() == [Answered(sent, status, 531, "unknown user")]


def test_one_exchange_at_a_time():
    line = Line().open()
    line.client.send_text("wv:bob", "one")
    line.client.send_text("wv:bob", "two")
    assert line.said().content_data == "one"
    assert line.client.data_to_send() is None
    assert line.client.next_timer() is None
    line.reply(SendMessageResponse(result=result(200)))
    assert line.said().content_data == "two"


def test_other_requests_are_answered_too():
    line = Line().open()
    asked = line.client.request(KeepAliveRequest(time_to_live=60))
    line.said()
    answer = KeepAliveResponse(result=result(200), keep_alive_time=60)
    line.reply(answer)
    assert line.events() == [Answered(asked, answer, 200, "")]


def test_an_exchange_that_failed_is_repeated_under_its_id():
    line = Line().open()
    sent = line.client.send_text("wv:bob", "hello")
    line.said()
    line.client.failed()
    assert line.said().content_data == "hello"
    assert line.transaction.id == sent
    line.offer("7", NewMessage(message_info=info(), content_data="hi"))
    assert isinstance(line.said(), MessageDelivered)
    line.client.failed()
    assert isinstance(line.said(), MessageDelivered)
    line.nothing()
    line.client.failed()
    assert line.client.data_to_send() is None


def test_a_pushed_message_is_confirmed_under_its_transaction():
    line = Line().open()
    line.client.poll()
    line.said()
    line.offer("17", NewMessage(message_info=info(), content_data="hi"))
    delivered = line.said()
    assert delivered == MessageDelivered(message_id="m1")
    assert (line.transaction.id, line.transaction.mode) == ("17", Mode.RESPONSE)
    assert line.events() == [Arrived("m1", "wv:bob@example.com", "hi", "text/plain")]


def test_a_message_offered_again_is_confirmed_again_and_shown_once():
    line = Line().open()
    for transaction_id in ("17", "18"):
        line.client.poll()
        line.said()
        line.offer(transaction_id, NewMessage(message_info=info(), content_data="hi"))
        assert isinstance(line.said(), MessageDelivered)
        line.nothing()
    assert len(line.events()) == 1


def test_a_notified_message_is_got_and_confirmed():
    line = Line().open()
    line.client.poll()
    line.said()
    line.offer("17", MessageNotification(message_info=info()))
    assert line.said() == Status(result=result(200))
    line.nothing()
    assert line.said() == GetMessageRequest(message_id="m1")
    line.reply(GetMessageResponse(message_info=info(), content_data="hi"))
    assert line.said() == MessageDelivered(message_id="m1")
    assert line.transaction.mode is Mode.REQUEST
    line.reply(Status(result=result(200)))
    assert line.events() == [Arrived("m1", "wv:bob@example.com", "hi", "text/plain")]


def test_a_notified_message_that_is_gone_is_forgotten():
    line = Line().open()
    line.client.poll()
    line.said()
    line.offer("17", MessageNotification(message_info=info()))
    line.said()
    line.nothing()
    line.said()
    line.reply(Status(result=result(426)))
    assert line.events() == []
    assert line.client.data_to_send() is None


def test_other_requests_of_the_server_get_a_status():
    line = Line().open()
    line.client.poll()
    line.said()
    report = DeliveryReportRequest(result=result(200), message_info=info())
    line.offer("3", report)
    assert line.said() == Status(result=result(200))
    assert (line.transaction.id, line.transaction.mode) == ("3", Mode.RESPONSE)
    assert line.events() == [Notified(report)]


def test_answers_go_before_requests_in_the_order_of_the_offers():
    line = Line().open()
    line.client.poll()
    line.said()
    line.client.send_text("wv:bob", "hello")
    line.give(
        *(
            Transaction(
                id=str(number),
                mode=Mode.REQUEST,
                primitive=NewMessage(message_info=info(f"m{number}"), content_data=""),
            )
            for number in (1, 2)
        )
    )
    said = []
    for _ in range(3):
        said.append(line.said())
        line.nothing()
    assert said[:2] == [
        MessageDelivered(message_id="m1"),
        MessageDelivered(message_id="m2"),
    ]
    assert isinstance(said[2], SendMessageRequest)


def test_the_poll_flag_makes_one_poll():
    line = Line().open()
    line.client.send_text("wv:bob", "hello")
    line.said()
    line.reply(SendMessageResponse(result=result(200)), poll=True)
    line.client.poll()
    assert isinstance(line.said(), PollingRequest)
    line.nothing()
    assert line.client.data_to_send() is None


def test_disconnect_ends_the_session_without_an_answer():
    line = Line().open()
    line.client.poll()
    line.said()
    line.offer("5", Disconnect(result=result(601, "forced")))
    assert line.events() == [Closed(601, "forced")]
    assert line.client.data_to_send() is None
    assert line.client.next_timer() is None


def test_after_a_disconnect_it_may_log_in_anew():
    line = Line().open()
    line.client.send_text("wv:bob", "hello")
    line.client.poll()
    line.said()
    line.offer("5", Disconnect(result=result(601, "forced")))
    assert line.events() == [Closed(601, "forced")]
    line.open()
    assert line.client.state is State.OPEN
    assert line.client.data_to_send() is None


@pytest.mark.parametrize("code", [600, 601, 604])
def test_an_answer_that_says_the_session_is_gone_ends_it(code):
    line = Line().open()
    line.client.send_text("wv:bob", "hello")
    line.said()
    line.reply(Status(result=result(code)))
    assert line.events() == [Closed(code, "")]


def test_logout_ends_with_whatever_is_answered():
    line = Line().open()
    line.client.logout()
    assert isinstance(line.said(), LogoutRequest)
    line.reply(Status(result=result(200)))
    assert line.events() == [Closed(200, "")]


def test_answers_to_nothing_are_dropped():
    line = Line().open()
    line.client.poll()
    line.said()
    stray = Transaction(
        id="900", mode=Mode.RESPONSE, primitive=Status(result=result(600))
    )
    line.give(stray)
    assert line.events() == []
    assert line.client.state is State.OPEN


def test_ids_wrap_and_pass_over_open_ones():
    line = Line().open()
    kept = line.client.request(KeepAliveRequest())
    line.said()
    line.nothing()
    ids = set()
    for _ in range(1100):
        line.client.poll()
        line.said()
        ids.add(line.transaction.id)
        line.nothing()
    assert kept not in ids
    assert {int(i) for i in ids} <= set(range(1, 1000))


@pytest.mark.parametrize(
    ("fields", "content", "text"),
    [
        ({"content_encoding": "BASE64"}, "aMOpbGxv", "h\u00e9llo"),
        ({"content_encoding": "base64"}, "a", "a"),
        ({"content_encoding": "None"}, "aMOpbGxv", "aMOpbGxv"),
        ({}, None, ""),
    ],
)
def test_content_is_shown_as_text(fields, content, text):
    line = Line().open()
    line.client.poll()
    line.said()
    line.offer("1", NewMessage(message_info=info(**fields), content_data=content))
    (event,) = line.events()
    assert event.text == text


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        (
            Sender(group=Group(group_id="wv:/chess@example.com")),
            "wv:/chess@example.com",
        ),
        (
            Sender(group=Group(screen_name=ScreenName(sname="Bob", group_id="wv:/g"))),
            "wv:/g (Bob)",
        ),
        (Sender(), ""),
    ],
)
def test_a_sender_may_be_a_group_or_a_member(sender, name):
    line = Line().open()
    line.client.poll()
    line.said()
    message = NewMessage(message_info=info(sender=sender), content_data="x")
    line.offer("1", message)
    (event,) = line.events()
    assert event.sender == name


def test_the_account_hides_its_password():
    assert "secret" not in repr(ALICE)
