"""Login, negotiation, keep-alive and logout on the data channel (CSP 1.1 to 1.3)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from gateway.csp.common import (
    ClientCapabilityResponse,
    Disconnect,
    LoginResponse,
    Status,
)
from gateway.csp.messaging import MessageNotification, NewMessage
from gateway.csp.schema import Version
from gateway.services.node import Node
from tests.services.doubles import (
    Core,
    Handset,
    message_to,
    primitives,
    result_of,
    send_message,
    subscriber,
)

V1_1, V1_2, V1_3 = Version
SCHEMAS = {"MD5": hashlib.md5, "SHA": hashlib.sha1}


def offers(*schemas: str) -> str:
    """Write the DigestSchema elements of a first step."""
    return "".join(f"<DigestSchema>{name}</DigestSchema>" for name in schemas)


def proof(challenge: LoginResponse, password: str = "alice-secret") -> str:
    """Answer a challenge."""
    assert challenge.nonce and challenge.digest_schema
    data = (challenge.nonce + password).encode("latin-1")
    digest = SCHEMAS[challenge.digest_schema](data).digest()
    return f"<DigestBytes>{base64.b64encode(digest).decode()}</DigestBytes>"


# -- login -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", Version)
def test_login_with_the_password(node: Node, version: Version) -> None:
    """Two steps: a session of 22 letters and digits, and all that a client needs."""
    response = Handset(node, version=version).login()
    assert isinstance(response, LoginResponse)
    assert response.result.code == 200
    assert re.fullmatch("[A-Za-z0-9]{22}", response.session_id or "")
    assert response.keep_alive_time == 600
    assert response.capability_request is True
    assert response.client_id.url == "http://handset.example.com/1"


@pytest.mark.parametrize(
    "user", ["alice", "wv:ALICE", "wv:alice", "WV:Alice@EXAMPLE.com"]
)
def test_a_user_may_be_written_in_many_ways(node: Node, user: str) -> None:
    """Case is ignored, schema and home domain may be left out."""
    handset = Handset(node, user=user)
    assert handset.login("<Password>alice-secret</Password>").result.code == 200


def test_a_user_may_log_in_by_his_number(make: Callable[..., Node]) -> None:
    """wv:+number is the subscriber of that number."""
    known = subscriber("alice", msisdn="+358401234567")
    handset = Handset(make(subscribers=(known,)), user="wv:+358401234567")
    assert handset.login("<Password>alice-secret</Password>").result.code == 200


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize(
    ("user", "password", "code"),
    [
        ("wv:alice@example.com", "wrong", 409),
        ("wv:alice@example.com", "", 409),
        ("wv:alice@example.com", "alice-secret ", 409),
        ("wv:nobody@example.com", "x", 531),
        ("wv:alice@elsewhere.example", "alice-secret", 531),
        ("wv:/group@example.com", "x", 531),
        ("wv:alice/list@example.com", "alice-secret", 531),
        ("@", "x", 531),
    ],
)
def test_a_login_that_fails(
    node: Node, version: Version, user: str, password: str, code: int
) -> None:
    """409 for a wrong password, 531 for whoever is not known; no session."""
    response = Handset(node, user=user, version=version).login(
        f"<Password>{password}</Password>"
    )
    assert isinstance(response, LoginResponse)
    assert response.result.code == code
    assert response.session_id is None
    assert len(node.sessions) == 0


def test_a_disabled_subscriber_is_unknown(make: Callable[..., Node]) -> None:
    """531, as for nobody."""
    node = make(subscribers=(subscriber("alice", enabled=False),))
    assert Handset(node).login().result.code == 531


def test_a_login_of_nobody_leaves_no_trace_at_the_core(node: Node, core: Core) -> None:
    """Our own directory alone decides."""
    Handset(node, user="wv:nobody@example.com").login("<Password>x</Password>")
    assert core.requests == []


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("schema", ["MD5", "SHA"])
def test_login_by_digest(node: Node, version: Version, schema: str) -> None:
    """Four steps: 1.1 is challenged with 200, later versions with 401."""
    handset = Handset(node, version=version)
    challenge = handset.login(offers(schema))
    assert challenge.result.code == (200 if version is V1_1 else 401)
    assert challenge.digest_schema == schema
    assert re.fullmatch("[A-Za-z0-9]{22}", challenge.nonce)
    assert challenge.session_id is None
    response = handset.login(proof(challenge))
    assert response.result.code == 200
    assert response.session_id


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["PWD,SHA,MD4,MD5,MD6"], "SHA"),
        (["PWD , md5"], "MD5"),
        (["MD4", "MD5", "PWD"], "MD5"),
        (["PWD"], "PWD"),
        (["MD6", "PWD", "MD4"], "PWD"),
    ],
)
def test_the_best_schema_that_both_know_is_chosen(
    node: Node, offered: list[str], chosen: str
) -> None:
    """Several elements, or one with commas as samples of 1.1 have it."""
    assert Handset(node).login(offers(*offered)).digest_schema == chosen


@pytest.mark.parametrize("offered", [["MD4"], ["MD6,MD4"], [""], []])
def test_no_common_schema(node: Node, offered: list[str]) -> None:
    """543: no matching digest scheme."""
    response = Handset(node).login(offers(*offered))
    assert response.result.code == 543
    assert response.nonce is None


def test_schema_pwd_is_answered_with_the_password(node: Node) -> None:
    """The digest of that schema is the password itself."""
    handset = Handset(node)
    assert handset.login(offers("PWD")).digest_schema == "PWD"
    assert handset.login("<DigestBytes>alice-secret</DigestBytes>").result.code == 409
    assert handset.login().result.code == 200


def test_a_nonce_is_good_once(node: Node) -> None:
    """Whoever overheard the digest cannot use it again."""
    handset = Handset(node)
    answer = proof(handset.login(offers("MD5")))
    assert handset.login(answer).result.code == 200
    assert handset.login(answer).result.code == 409


def test_a_wrong_digest_uses_the_nonce_up(node: Node) -> None:
    """There is one guess a nonce."""
    handset = Handset(node)
    challenge = handset.login(offers("MD5"))
    assert handset.login(proof(challenge, "guess")).result.code == 409
    assert handset.login(proof(challenge)).result.code == 409


def test_a_nonce_lives_for_a_minute(node: Node, clock: Clock) -> None:
    """Sixty seconds, and not one more."""
    handset = Handset(node)
    answer = proof(handset.login(offers("MD5")))
    clock.advance(60)
    assert handset.login(answer).result.code == 200
    answer = proof(handset.login(offers("MD5")))
    clock.advance(60.5)
    assert handset.login(answer).result.code == 409


def test_a_nonce_belongs_to_its_user_and_client(node: Node) -> None:
    """Nobody else's nonce, and not that of another handset."""
    answer = proof(Handset(node).login(offers("MD5")))
    assert Handset(node, client="http://other").login(answer).result.code == 409
    assert Handset(node, user="wv:bob").login(answer).result.code == 409
    assert Handset(node).login(answer).result.code == 200


def test_digest_bytes_with_layout_are_read(node: Node) -> None:
    """BASE64 with the blanks and line ends of a pretty printer."""
    handset = Handset(node)
    answer = proof(handset.login(offers("SHA")))
    spread = answer.replace(">", ">\n  ", 1).replace("</", "\n</")
    assert handset.login(spread).result.code == 200


def test_a_flood_of_challenges_is_bounded(node: Node) -> None:
    """Ten thousand nonces are kept at most, of clients whose name is not a book."""
    for number in range(20):
        Handset(node, client=f"http://h/{number}").login(offers("MD5"))
    assert len(node.access._nonces) == 20
    long = Handset(node, client="http://h/" + "x" * 100_000)
    assert long.login(offers("MD5")).result.code == 402
    assert len(node.access._nonces) == 20


@pytest.mark.parametrize("version", Version)
def test_a_login_that_lacks_something(node: Node, version: Version) -> None:
    """Status 400, in the version that was spoken."""
    handset = Handset(node, version=version)
    answer = handset.ask("<Login-Request><UserID>wv:alice</UserID></Login-Request>")
    assert isinstance(answer, Status)
    assert answer.result.code == 400


@pytest.mark.parametrize(
    ("asked", "granted"), [("1", 60), ("605", 605), ("999999999", 86400)]
)
def test_keep_alive_time_is_granted_within_bounds(
    node: Node, asked: str, granted: int
) -> None:
    """TimeToLive is a wish."""
    handset = Handset(node)
    response = handset.ask(
        f"<Login-Request><UserID>wv:alice</UserID>{handset.client_id}"
        f"<Password>alice-secret</Password><TimeToLive>{asked}</TimeToLive>"
        "<SessionCookie>c</SessionCookie></Login-Request>"
    )
    assert response.keep_alive_time == granted


# -- several sessions of one user ------------------------------------------------------


def test_the_same_client_has_one_session(node: Node) -> None:
    """A handset that was switched off and on again replaces its old session."""
    first, second = Handset(node).open(), Handset(node).open()
    assert len(node.sessions) == 1
    assert first.session != second.session
    (transaction,) = first.poll()
    assert isinstance(transaction.primitive, Disconnect)
    assert transaction.primitive.result.code == 601
    assert second.poll() == []


def test_the_user_has_so_many_sessions_and_no_more(make: Callable[..., Node]) -> None:
    """The one that was silent longest gives way."""
    node = make(session={"per_user": 2})
    first, second, third = (
        Handset(node, client=f"http://h/{number}") for number in range(3)
    )
    for step in (first.open, second.open, first.poll, third.open):
        step()
        node.clock.advance(1)
    assert node.sessions.count("sip:alice@example.com") == 2
    assert [type(p) for p in primitives(second.poll())] == [Disconnect]
    assert first.poll() == third.poll() == []


def test_logging_in_again_does_not_take_the_user_off_the_core(
    node: Node, core: Core
) -> None:
    """One REGISTER, and no de-registration between the two sessions."""
    Handset(node).open()
    Handset(node).open()
    registers = core.of("REGISTER")
    assert [r.headers.get("Expires") for r in registers] == ["3600"]


# -- capabilities ----------------------------------------------------------------------


@pytest.mark.parametrize("version", Version)
def test_capabilities_are_answered_in_the_shape_of_the_version(
    node: Node, version: Version
) -> None:
    """1.1 gets its list back with its ClientID, later ones what was agreed, alone."""
    handset = Handset(node, version=version)
    handset.login()
    answer = handset.negotiate()
    assert isinstance(answer, ClientCapabilityResponse)
    if version is V1_1:
        assert answer.client_id is not None
        assert answer.agreed_capability_list is None
        agreed: Any = answer.capability_list
    else:
        assert (answer.client_id, answer.capability_list) == (None, None)
        agreed = answer.agreed_capability_list
        content = handset.reply.body.partition(b"<ClientCapability-Response>")[2]
        assert content.startswith(b"<AgreedCapabilityList>")
    assert agreed.supported_bearer == ("HTTP",)
    assert agreed.server_poll_min == 2
    assert agreed.supported_cir_method == ()


@pytest.mark.parametrize("version", Version)
def test_what_waits_at_login_comes_as_the_client_then_wishes(
    node: Node, core: Core, version: Version
) -> None:
    """A message stored for a logged-out user is announced to a client with N."""
    response = core.ask(message_to("alice", "while you were out"))
    assert response is not None
    assert response.status == 202
    handset = Handset(node, version=version).open(method="N")
    (offer,) = handset.poll()
    assert isinstance(offer.primitive, MessageNotification)


@pytest.mark.parametrize("version", [V1_1, V1_2])
def test_accepted_content_length_holds_for_what_waited(
    node: Node, core: Core, version: Version
) -> None:
    """Too long a message is announced, and not given when it is asked for."""
    for text in ("short", "long " * 10):
        core.ask(message_to("alice", text))
    handset = Handset(node, version=version)
    handset.open(extra="<AcceptedContentLength>20</AcceptedContentLength>")
    (first,) = handset.poll()
    assert isinstance(first.primitive, NewMessage)
    (second,) = handset.poll()
    assert isinstance(second.primitive, MessageNotification)
    message_id = second.primitive.message_info.message_id
    get = (
        f"<GetMessage-Request><MessageID>{message_id}</MessageID></GetMessage-Request>"
    )
    assert handset.code(get) == 432


def test_parser_size_holds_in_bytes(node: Node, core: Core) -> None:
    """No reply with a message is longer than the client can parse."""
    core.ask(message_to("alice", "\u4f60" * 1000))
    core.ask(message_to("alice", "&" * 500))
    core.ask(message_to("alice", "x" * 500))
    handset = Handset(node).open(extra="<ParserSize>2800</ParserSize>")
    kinds = []
    for _ in range(3):
        (offer,) = handset.poll()
        kinds.append(type(offer.primitive))
        assert len(handset.reply.body) <= 2800
    assert kinds == [MessageNotification, MessageNotification, NewMessage]


def test_parser_size_holds_for_answers_and_offers_together(
    node: Node, core: Core
) -> None:
    """What does not fit beside the answer waits for the next reply."""
    handset = Handset(node).open(multi=8, extra="<ParserSize>3500</ParserSize>")
    for _ in range(3):
        core.ask(message_to("alice", "x" * 1500))
    message = handset.post(handset.transaction("<KeepAlive-Request/>"))
    assert message is not None
    assert len(message.transactions) == 1
    assert message.poll is True
    assert len(handset.poll()) == 1
    assert len(handset.reply.body) <= 3500


def test_a_charset_of_the_client_is_used(node: Node, core: Core) -> None:
    """Latin-1 where UTF-8 is not accepted; what it lacks is a reference."""
    handset = Handset(node, version=V1_1)
    handset.open(extra="<AcceptedCharset>4</AcceptedCharset>")
    core.ask(message_to("alice", "caf\xe9 \u4f60"))
    (offer,) = handset.poll()
    assert "charset=iso-8859-1" in handset.reply.content_type
    assert "caf\xe9 &#20320;".encode("latin-1") in handset.reply.body
    assert isinstance(offer.primitive, NewMessage)
    assert offer.primitive.content_data == "caf\xe9 \u4f60"


def test_capabilities_in_the_login_of_1_3(node: Node, core: Core) -> None:
    """Everything may be settled in it: no further negotiation is asked for."""
    handset = Handset(node, version=V1_3)
    response = handset.login(
        extra="<Functions><WVCSPFeat><IMFeat/></WVCSPFeat></Functions>"
        "<CapabilityList><ClientType>MOBILE_PHONE</ClientType>"
        "<InitialDeliveryMethod>P</InitialDeliveryMethod>"
        "<MultiTrans>4</MultiTrans><ParserSize>30000</ParserSize>"
        "<SupportedBearer>HTTP</SupportedBearer></CapabilityList>"
    )
    assert response.result.code == 200
    assert response.capability_request is False
    agreed = response.agreed_capability_list
    assert (agreed.multi_trans, agreed.multi_trans_per_message) == (4, 1)
    core.ask(message_to("alice", "at once"))
    assert len(handset.poll()) == 1


def test_bad_capabilities_change_nothing(node: Node) -> None:
    """402, and the session works on under what was agreed before."""
    handset = Handset(node).open(multi=3)
    assert handset.negotiate(method="X").result.code == 402
    assert node.sessions.of("sip:alice@example.com")[0].agreed.multi == 3


# -- services --------------------------------------------------------------------------


@pytest.mark.parametrize("version", Version)
def test_what_is_not_offered_is_named(node: Node, version: Version) -> None:
    """Functions names what cannot be had; AllFunctions always has a child."""
    handset = Handset(node, version=version).open()
    answer = handset.services()
    lacking = answer.functions.wvcsp_feat
    assert lacking.presence_feat is not None
    assert lacking.group_feat is not None
    assert lacking.im_feat.im_receive_func is None or not (
        lacking.im_feat.im_receive_func.newm
    )
    assert answer.all_functions.wvcsp_feat.im_feat is not None
    assert (answer.client_id is not None) is (version is V1_1)


@pytest.mark.parametrize("version", Version)
def test_what_is_offered_is_not_named(node: Node, version: Version) -> None:
    """No Functions in the answer: all granted."""
    tree = "<FundamentalFeat><ServiceFunc><GETSPI/></ServiceFunc></FundamentalFeat>"
    handset = Handset(node, version=version).open()
    answer = handset.services(tree, every=False)
    assert answer.functions is None
    assert answer.all_functions is None


@pytest.mark.parametrize("version", Version)
def test_a_service_that_was_not_agreed_is_refused_with_506(
    node: Node, version: Version
) -> None:
    """What this release does not have at all is 405 before and after."""
    handset = Handset(node, version=version).open()
    listing = "<GetMessageList-Request/>"
    joined = "<GetList-Request/>"
    assert not isinstance(handset.ask(listing), Status)
    assert handset.code(joined) == 405
    handset.services("<FundamentalFeat/>", every=False)
    assert handset.code(listing) == 506
    assert handset.code(joined) == 405
    assert handset.code(send_message("always")) == 200
    handset.services("<IMFeat/>", every=False)
    assert not isinstance(handset.ask(listing), Status)


def test_a_client_without_new_message_is_notified(node: Node, core: Core) -> None:
    """And one without notifications gets NewMessage, whatever the method."""
    handset = Handset(node).open()
    for word, kind in (("NOTIF", MessageNotification), ("NEWM", NewMessage)):
        receive = f"<IMReceiveFunc><{word}/></IMReceiveFunc>"
        handset.services(f"<IMFeat>{receive}</IMFeat>", every=False)
        core.ask(message_to("alice"))
        (offer,) = handset.poll()
        assert isinstance(offer.primitive, kind)
        handset.answer(offer, "<Status><Result><Code>200</Code></Result></Status>")


# -- keep-alive and logout -------------------------------------------------------------


@pytest.mark.parametrize("version", Version)
def test_keep_alive(node: Node, version: Version) -> None:
    """The time is confirmed; another may be asked for, within bounds."""
    handset = Handset(node, version=version).open()
    assert handset.ask("<KeepAlive-Request/>").keep_alive_time in (600, None)
    for asked, granted in ((5, 60), (120, 120)):
        handset.ask(
            f"<KeepAlive-Request><TimeToLive>{asked}</TimeToLive></KeepAlive-Request>"
        )
        assert node.sessions.of("sip:alice@example.com")[0].keep_alive == granted


@pytest.mark.parametrize("version", Version)
def test_logout(node: Node, core: Core, version: Version) -> None:
    """1.1 answers with Disconnect, later versions with Status; then 604."""
    handset = Handset(node, version=version).open()
    answer = handset.ask("<Logout-Request/>")
    assert type(answer) is (Disconnect if version is V1_1 else Status)
    assert answer.result.code == 200
    assert handset.code("<KeepAlive-Request/>") == 604
    assert core.of("REGISTER")[-1].headers.get("Expires") == "0"
    assert result_of(node.store.open_sessions()) == []


def test_nobody_logs_in_while_the_service_stops(node: Node) -> None:
    """503; who is in is served to the end."""
    handset = Handset(node).open()
    node.drain()
    assert Handset(node, user="wv:bob").login().result.code == 503
    assert not isinstance(handset.ask("<KeepAlive-Request/>"), Status)
