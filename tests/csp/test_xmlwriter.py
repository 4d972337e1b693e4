"""Writing CSP in XML: only what the version knows, as it knows it."""

from __future__ import annotations

import datetime

import pytest

from gateway.csp.catalogue import PRIMITIVES
from gateway.csp.common import (
    AgreedCapabilityList,
    ClientCapabilityResponse,
    ClientID,
    ExtendedRequest,
    LoginRequest,
    Result,
    ServiceRequest,
    Status,
)
from gateway.csp.envelope import Faulty, Message, Mode, Transaction, Version
from gateway.csp.messaging import (
    BlockEntityRequest,
    BlockList,
    GetBlockedListRequest,
    MessageInfo,
    NewMessage,
)
from gateway.csp.presence import (
    CancelAuthRequest,
    GetPresenceRequest,
    OnlineStatus,
    PresenceSubList,
    UpdatePresenceRequest,
)
from gateway.csp.shared import User
from gateway.csp.xmlsyntax import decode, encode
from tests.csp.documents import sent, wrap

V1_1, V1_2, V1_3 = Version


def test_elements_that_a_version_lacks_are_left_out() -> None:
    """1.3 has more to say than older versions can hear."""
    result = Result(code=503, description="busy", try_again_timeout=5)
    for version, heard in ((V1_2, b"<Tr"), (V1_3, b"<TryAgainTimeout>5")):
        body = encode(wrap(Status(result=result), version))
        assert (b"<TryAgainTimeout>" in body) == (version is V1_3)
        assert heard in body


def test_one_where_a_version_allows_one() -> None:
    """Presence of several clients is 1.3; before, the first is told."""
    presence = UpdatePresenceRequest(
        presence_sub_list=PresenceSubList(
            online_status=(
                OnlineStatus(qualifier=True, client_id=ClientID(url="a")),
                OnlineStatus(qualifier=False, client_id=ClientID(url="b")),
            )
        )
    )
    assert encode(wrap(presence, V1_3)).count(b"<OnlineStatus>") == 2
    old = encode(wrap(presence, V1_2))
    assert old.count(b"<OnlineStatus>") == 1
    assert b"<Qualifier>T</Qualifier></OnlineStatus>" in old


def test_names_and_namespaces_of_the_version() -> None:
    """1.1 says BlockUser; presence has a namespace of its own."""
    block = BlockEntityRequest(block_list=BlockList(in_use=True))
    assert b"<BlockUser-Request>" in encode(wrap(block, V1_1))
    assert b"<BlockEntity-Request>" in encode(wrap(block, V1_2))
    get = GetPresenceRequest(
        user=(User(user_id="wv:a"),), presence_sub_list=PresenceSubList()
    )
    assert (
        b'<PresenceSubList xmlns="http://www.wireless-village.org/PA1.1"/>'
        in encode(wrap(get, V1_1))
    )


def test_order_of_the_version() -> None:
    """1.3 lists capabilities in another order."""
    agreed = AgreedCapabilityList(
        supported_bearer=("HTTP",), server_poll_min=2, tcp_port=1, any_content=True
    )
    response = ClientCapabilityResponse(agreed_capability_list=agreed)
    older, newer = (
        encode(wrap(response, version)).decode() for version in (V1_2, V1_3)
    )
    assert older.index("<SupportedBearer>") < older.index("<ServerPollMin>")
    assert newer.index("<ServerPollMin>") < newer.index("<SupportedBearer>")
    assert "AnyContent" not in older


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (wrap(LoginRequest(user_id="a", client_id=ClientID(), session_cookie="c")), ""),
        (wrap(ServiceRequest(all_functions_request=True)), "functions"),
        (wrap(PRIMITIVES["GetMap-Request"](), V1_2), "no GetMapRequest in CSP 1.2"),
        (wrap(CancelAuthRequest(user_id="a"), V1_3), "in CSP 1.3"),
        (wrap(Faulty(name="x", code=400, description="")), "Faulty"),
        (Message(version=V1_2, session_id=None, transactions=()), "without a trans"),
        (wrap(ExtendedRequest(content="<a>")), "foreign"),
    ],
)
def test_what_a_version_cannot_carry(message: Message, why: str) -> None:
    """A defect of ours: ValueError. The first of these can be carried."""
    if not why:
        assert decode(encode(message)) == message
        return
    with pytest.raises(ValueError, match=why):
        encode(message)


def test_poll_is_in_the_descriptor_in_version_1_1() -> None:
    """And after the transactions later; 1.1 has no CIR flag."""
    transaction = Transaction(
        id="1", mode=Mode.REQUEST, primitive=GetBlockedListRequest()
    )
    for version, place in (
        (V1_1, b"<Poll>T</Poll></TransactionDescriptor>"),
        (V1_2, b"</Transaction><Poll>T</Poll><CIR>F</CIR></Session>"),
    ):
        body = encode(
            Message(
                version=version,
                session_id="s",
                transactions=(transaction,),
                poll=True,
                cir=False,
            )
        )
        assert place in body
        assert (b"<CIR>" in body) == (version is V1_2)


def test_text_that_xml_cannot_carry() -> None:
    """Forbidden characters are replaced, the others are escaped."""
    content = "a\x00\x1f\ufffe\ud800b<&>\r\n\t]]>"
    info = sent("").message_info
    body = encode(wrap(NewMessage(message_info=info, content_data=content)))
    found = decode(body).transactions[0].primitive
    assert isinstance(found, NewMessage)
    assert found.content_data == "a\ufffd\ufffd\ufffd\ufffdb<&>\r\n\t]]>"


def test_times() -> None:
    """Basic form, UTC with Z, no zone without."""
    when = datetime.datetime(
        2007, 6, 25, 7, 56, 52, tzinfo=datetime.timezone(datetime.timedelta(hours=2))
    )
    info = sent("").message_info
    for moment, text in (
        (when, b"<DateTime>20070625T055652Z<"),
        (when.replace(tzinfo=None), b"<DateTime>20070625T075652<"),
    ):
        timed = MessageInfo(
            content_size=0,
            sender=info.sender,
            recipient=info.recipient,
            date_time=moment,
        )
        assert text in encode(wrap(NewMessage(message_info=timed)))
