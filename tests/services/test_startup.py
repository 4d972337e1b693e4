"""The start-up sequences of the two families of real clients, step by step.

What they send stands here as they write it; what they get is read as they read it, by
the standard library's parser and not by the gateway's codec. Facts: the client quirks
of the CSP reference (AOSP's client of 1.2; Symbian's of 1.1 and 1.2, whose WBXML is
written here as the XML that it stands for).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from twisted.internet.task import Clock

from gateway.igateway import Peer, Reply
from gateway.services.node import Node
from tests.services.doubles import Core, message_to, result_of

SPACES = {
    "1.1": "http://www.wireless-village.org/{}1.1",
    "1.2": "http://www.openmobilealliance.org/DTD/WV-{}1.2",
}
PRESENCE = "http://www.openmobilealliance.org/DTD/WV-PA1.2"


def local(element: ElementTree.Element) -> str:
    """Give an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


class Client:
    """A client that keeps what it needs of each reply."""

    def __init__(self, node: Node, version: str, prefix: str = "") -> None:
        self.node = node
        self.version = version
        self.prefix = prefix
        self.session = ""
        self.number = 0
        self.poll = False
        self.reply = Reply()
        self.root: ElementTree.Element | None = None

    def post(self, content: str, mode: str = "Request", number: str = "") -> bytes:
        """Send one primitive in one message; the poll carries no TransactionID."""
        if not number and "Polling" not in content:
            self.number += 1
            number = f"{self.prefix}{self.number}"
        inband = (
            f"<SessionType>Inband</SessionType><SessionID>{self.session}</SessionID>"
        )
        kind = inband if self.session else "<SessionType>Outband</SessionType>"
        named = f"<TransactionID>{number}</TransactionID>" if number else ""
        spaces = SPACES[self.version]
        body = (
            f'<WV-CSP-Message xmlns="{spaces.format("CSP")}"><Session>'
            f"<SessionDescriptor>{kind}</SessionDescriptor><Transaction>"
            f"<TransactionDescriptor><TransactionMode>{mode}</TransactionMode>{named}"
            "</TransactionDescriptor>"
            f'<TransactionContent xmlns="{spaces.format("TRC")}">{content}'
            "</TransactionContent></Transaction></Session></WV-CSP-Message>"
        )
        self.reply = reply = result_of(
            self.node.sap.exchange(
                "application/vnd.wv.csp.xml", body.encode(), Peer("192.0.2.9", 4000)
            )
        )
        self.poll = False
        self.root = ElementTree.fromstring(reply.body) if reply.body else None
        if self.root is not None:
            assert self.root.tag == f"{{{spaces.format('CSP')}}}WV-CSP-Message"
            self.poll = any(
                local(e) == "Poll" and e.text == "T" for e in self.root.iter()
            )
        return reply.body

    def content(self) -> ElementTree.Element:
        """Give the primitive of the last transaction, the one that AOSP reads."""
        assert self.root is not None
        found = [e for e in self.root.iter() if local(e) == "TransactionContent"]
        assert len(found) == 1, "these clients read one transaction of a message"
        (primitive,) = found[-1]
        return primitive

    def ask(self, content: str) -> ElementTree.Element:
        """Send a request and read its answer, which has its id."""
        self.post(content)
        assert self.root is not None
        ids = [e.text for e in self.root.iter() if local(e) == "TransactionID"]
        assert ids == [f"{self.prefix}{self.number}"]
        return self.content()

    def text(self, element: ElementTree.Element, path: str) -> str:
        """Read the text at a path of local names; it must be there."""
        found = self.child(element, path)
        assert found.text, path
        return found.text

    def child(self, element: ElementTree.Element, path: str) -> ElementTree.Element:
        """Go down a path of local names without a null check, as the client does."""
        for name in path.split("/"):
            element = next(e for e in element if local(e) == name)
        return element


def paths(element: ElementTree.Element) -> Iterator[str]:
    """Give the name of every element below."""
    return (local(e) for e in element.iter())


# -- AOSP (User-Agent Android-Imps/0.1, 1.2, XML) --------------------------------------

AOSP_ID = "<ClientID><URL>http://www.android.com/imps/</URL></ClientID>"
AOSP_CAPABILITIES = (
    "<ClientCapability-Request><CapabilityList><ClientType>MOBILE_PHONE</ClientType>"
    "<AcceptedContentLength>262144</AcceptedContentLength>"
    "<ParserSize>262144</ParserSize><MultiTrans>1</MultiTrans>"
    "<InitialDeliveryMethod>P</InitialDeliveryMethod>"
    "<ServerPollMin>10</ServerPollMin><SupportedBearer>HTTP</SupportedBearer>"
    "<SupportedCIRMethod>STCP</SupportedCIRMethod>"
    "<SupportedCIRMethod>SSMS</SupportedCIRMethod>"
    "<SupportedCIRMethod>SHTTP</SupportedCIRMethod>"
    "</CapabilityList></ClientCapability-Request>"
)
AOSP_SERVICES = (
    "<Service-Request><Functions><WVCSPFeat><FundamentalFeat/><PresenceFeat/><IMFeat/>"
    "<GroupFeat/></WVCSPFeat></Functions><AllFunctionsRequest>T</AllFunctionsRequest>"
    "</Service-Request>"
)
SEND = (
    "<SendMessage-Request><DeliveryReport>F</DeliveryReport><MessageInfo>"
    "<Recipient><User><UserID>wv:bob@example.com</UserID></User></Recipient>"
    "<Sender><User><UserID>wv:alice@example.com</UserID></User></Sender>"
    "<ContentType>text/plain</ContentType><ContentSize>5</ContentSize>"
    "</MessageInfo><ContentData>hello</ContentData></SendMessage-Request>"
)


def aosp_login(client: Client, proof: str) -> ElementTree.Element:
    """Send its Login-Request: its order is not that of the content model."""
    return client.ask(
        f"<Login-Request><UserID>wv:alice@example.com</UserID>{AOSP_ID}"
        "<TimeToLive>605</TimeToLive><SessionCookie>1234567890</SessionCookie>"
        f"{proof}</Login-Request>"
    )


@pytest.fixture
def aosp(node: Node) -> Client:
    """Give AOSP's client after its login with the password."""
    client = Client(node, "1.2")
    answer = aosp_login(client, "<Password>alice-secret</Password>")
    assert client.text(answer, "Result/Code") == "200"
    assert client.text(answer, "KeepAliveTime") == "605"
    assert client.text(answer, "CapabilityRequest") == "T"
    client.session = client.text(answer, "SessionID")
    return client


def start(client: Client) -> None:
    """Go on as AOSP does until it is usable."""
    answer = client.ask(AOSP_CAPABILITIES)
    agreed = answer[0]  # the first child, whatever its name
    assert local(agreed) == "AgreedCapabilityList"
    assert client.text(agreed, "SupportedBearer") == "HTTP"
    assert client.text(agreed, "ServerPollMin") == "10"
    assert "SupportedCIRMethod" not in paths(agreed), "none that is not there"
    answer = client.ask(AOSP_SERVICES)
    assert len(client.child(answer, "AllFunctions/WVCSPFeat")) > 0
    lacking = set(paths(client.child(answer, "Functions")))
    assert {"PresenceFeat", "GroupFeat"} <= lacking


def test_aosp_starts_up(aosp: Client) -> None:
    """Capabilities, services, presence and lists, each as it needs it."""
    start(aosp)
    answer = aosp.ask(
        "<GetPresence-Request><User><UserID>wv:alice@example.com</UserID></User>"
        "</GetPresence-Request>"
    )
    assert aosp.text(answer, "Result/Code") == "200"
    sub_list = aosp.child(answer, "Presence/PresenceSubList")
    assert sub_list.tag == f"{{{PRESENCE}}}PresenceSubList"
    for content in (
        f'<UpdatePresence-Request><PresenceSubList xmlns="{PRESENCE}"><ClientInfo>'
        "<Qualifier>T</Qualifier><ClientType>MOBILE_PHONE</ClientType>"
        "<ClientProducer>Android</ClientProducer></ClientInfo></PresenceSubList>"
        "</UpdatePresence-Request>",
        "<GetBlockedList-Request/>",
        "<GetList-Request/>",
        "<ListManage-Request><ContactList>wv:alice/friends@example.com</ContactList>"
        "<ReceiveList>T</ReceiveList></ListManage-Request>",
    ):
        answer = aosp.ask(content)
        assert aosp.text(answer, "Result/Code") == "405"


def test_aosp_logs_in_in_four_steps(node: Node) -> None:
    """One DigestSchema element a schema; no SessionID means step two."""
    client = Client(node, "1.2")
    schemas = "".join(
        f"<DigestSchema>{name}</DigestSchema>" for name in ("MD5", "SHA", "PWD", "MD4")
    )
    answer = aosp_login(client, schemas)
    assert "SessionID" not in paths(answer)
    assert client.text(answer, "Result/Code") == "401"
    assert client.text(answer, "DigestSchema") == "SHA"
    secret = (client.text(answer, "Nonce") + "alice-secret").encode("latin-1")
    proof = base64.b64encode(hashlib.sha1(secret).digest()).decode()
    answer = aosp_login(client, f"<DigestBytes>{proof}</DigestBytes>")
    assert client.text(answer, "SessionID")


def test_aosp_sends_and_receives(aosp: Client, core: Core) -> None:
    """Its MessageInfo has an order of its own; it reads a NewMessage unchecked."""
    start(aosp)
    answer = aosp.ask(SEND)
    assert aosp.text(answer, "Result/Code") == "200"
    assert aosp.text(answer, "MessageID")
    assert core.of("MESSAGE")[0].body == b"hello"
    for text in ("one", "two"):
        core.ask(message_to("alice", text, sender="bob"))
    aosp.ask("<KeepAlive-Request><TimeToLive>605</TimeToLive></KeepAlive-Request>")
    seen = []
    while aosp.poll:
        aosp.post("<Polling-Request/>")
        message = aosp.content()
        assert local(message) == "NewMessage"
        assert aosp.text(message, "MessageInfo/Sender/User/UserID")
        message_id = aosp.text(message, "MessageInfo/MessageID")
        seen.append(aosp.text(message, "ContentData"))
        assert aosp.root is not None
        (offered,) = (e.text for e in aosp.root.iter() if local(e) == "TransactionID")
        more = aosp.poll
        confirmation = (
            f"<MessageDelivered><MessageID>{message_id}</MessageID></MessageDelivered>"
        )
        aosp.post(confirmation, "Response", offered or "")
        if aosp.root is not None:
            seen.append(aosp.text(aosp.content(), "ContentData"))
        assert (aosp.root is not None) is more
    assert seen == ["one", "two"]


def test_aosp_retries_with_a_new_id(aosp: Client, core: Core) -> None:
    """After a network error its message goes out once."""
    start(aosp)
    first = aosp.ask(SEND)
    aosp.node.sap.unwritten(aosp.reply)
    again = aosp.ask(SEND)
    assert aosp.text(again, "MessageID") == aosp.text(first, "MessageID")
    assert len(core.of("MESSAGE")) == 1


def test_aosp_is_told_of_an_expired_session(aosp: Client, clock: Clock) -> None:
    """Disconnect at its poll; whatever then follows has a Result with a Code."""
    start(aosp)
    clock.advance(606)
    aosp.post("<Polling-Request/>")
    goodbye = aosp.content()
    assert local(goodbye) == "Disconnect"
    assert aosp.text(goodbye, "Result/Code") == "600"
    assert aosp.text(aosp.ask("<KeepAlive-Request/>"), "Result/Code") == "604"


def test_aosp_logs_out(aosp: Client) -> None:
    """Any answer ends the session."""
    start(aosp)
    assert aosp.text(aosp.ask("<Logout-Request/>"), "Result/Code") == "200"


# -- Symbian (1.1 and 1.2; TransactionIDs nok1, nok2 …) --------------------------------

SYMBIAN_ID = "<ClientID><URL>wv:nokia.1234567890</URL></ClientID>"
SYMBIAN_TREE = (
    "<FundamentalFeat><ServiceFunc><GETSPI/></ServiceFunc><SearchFunc><SRCH/><STSRC/>"
    "</SearchFunc><InviteFunc><INVIT/><CAINV/></InviteFunc></FundamentalFeat>"
    "<PresenceFeat><ContListFunc><GCLI/><CCLI/><DCLI/><MCLS/></ContListFunc>"
    "<PresenceAuthFunc><GETWL/><REACT/><CAAUT/></PresenceAuthFunc>"
    "<PresenceDeliverFunc><GETPR/><UPDPR/></PresenceDeliverFunc>"
    "<AttListFunc><CALI/><DALI/><GALS/></AttListFunc></PresenceFeat>"
    "<IMFeat><IMSendFunc><MDELIV/><FWMSG/></IMSendFunc><IMReceiveFunc><SETD/><GETLM/>"
    "<GETM/><REJCM/><NOTIF/><NEWM/></IMReceiveFunc><IMAuthFunc><GLBLU/><BLENT/>"
    "</IMAuthFunc></IMFeat>"
    "<GroupFeat><GroupMgmtFunc><CREAG/><DELGR/><GETGP/><SETGP/></GroupMgmtFunc>"
    "<GroupUseFunc><SUBGCN/><GRCHN/></GroupUseFunc></GroupFeat>"
)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_symbian_starts_up(node: Node, core: Core, version: str) -> None:
    """Four steps with MD5, capabilities, then services: usable after both answers."""
    client = Client(node, version, "nok")
    named = SYMBIAN_ID if version == "1.1" else ""
    head = (
        f"<Login-Request><UserID>wv:alice@example.com</UserID>{SYMBIAN_ID}{{}}"
        "<TimeToLive>86400</TimeToLive><SessionCookie>wv:nokia.1234567890"
        "</SessionCookie></Login-Request>"
    )
    answer = client.ask(head.format("<DigestSchema>MD5</DigestSchema>"))
    code = client.text(answer, "Result/Code")
    assert code == ("200" if version == "1.1" else "401")
    nonce = client.text(answer, "Nonce")
    assert len(nonce) <= 200
    assert client.text(answer, "DigestSchema") == "MD5"
    digest = hashlib.md5((nonce + "alice-secret").encode("latin-1")).digest()
    proof = base64.b64encode(digest).decode()
    answer = client.ask(head.format(f"<DigestBytes>{proof}</DigestBytes>"))
    assert client.text(answer, "Result/Code") == "200"
    client.session = client.text(answer, "SessionID")
    assert len(client.session) <= 50

    answer = client.ask(
        f"<ClientCapability-Request>{named}<CapabilityList>"
        "<ClientType>MOBILE_PHONE</ClientType>"
        "<InitialDeliveryMethod>P</InitialDeliveryMethod><AnyContent>T</AnyContent>"
        "<AcceptedCharSet>106</AcceptedCharSet>"
        "<AcceptedTransferEncoding>BASE64</AcceptedTransferEncoding>"
        "<AcceptedContentLength>32767</AcceptedContentLength>"
        "<SupportedBearer>HTTP</SupportedBearer><MultiTrans>1</MultiTrans>"
        "<ParserSize>32767</ParserSize>"
        "<SupportedCIRMethod>WAPSMS</SupportedCIRMethod>"
        "<SupportedCIRMethod>STCP</SupportedCIRMethod>"
        "<SupportedCIRMethod>SUDP</SupportedCIRMethod><UDPPort>3717</UDPPort>"
        "<ServerPollMin>2</ServerPollMin></CapabilityList></ClientCapability-Request>"
    )
    assert local(answer) == "ClientCapability-Response"
    if version == "1.1":
        assert client.text(answer, "ClientID/URL") == "wv:nokia.1234567890"
        agreed = client.child(answer, "CapabilityList")
        assert client.text(agreed, "MultiTrans") == "1"
        assert client.text(agreed, "InitialDeliveryMethod") == "P"
        assert client.text(agreed, "AcceptedCharset") == "106"
    else:
        agreed = client.child(answer, "AgreedCapabilityList")
    assert client.text(agreed, "ServerPollMin") == "2"
    assert "TCPAddress" not in paths(agreed)

    answer = client.ask(
        f"<Service-Request>{named}<Functions><WVCSPFeat>{SYMBIAN_TREE}</WVCSPFeat>"
        "</Functions><AllFunctionsRequest>F</AllFunctionsRequest></Service-Request>"
    )
    assert local(answer) == "Service-Response"
    lacking = set(paths(client.child(answer, "Functions/WVCSPFeat")))
    assert {"PresenceFeat", "GroupFeat", "IMAuthFunc", "MDELIV"} <= lacking
    assert lacking.isdisjoint({"GETSPI", "NEWM", "GETM", "SETD", "FWMSG"})

    core.ask(message_to("alice", "hello", sender="bob"))
    client.post("<Polling-Request/>")
    message = client.content()
    assert client.text(message, "ContentData") == "hello"
    assert client.text(message, "MessageInfo/Recipient/User/UserID") == (
        "wv:alice@example.com"
    )


@pytest.mark.parametrize("code", ["600", "601", "604"])
def test_symbian_hears_that_its_session_is_over(
    node: Node, clock: Clock, code: str
) -> None:
    """Each of the three ends it."""
    client = Client(node, "1.2", "nok")
    login = (
        f"<Login-Request><UserID>wv:alice@example.com</UserID>{SYMBIAN_ID}"
        "<Password>alice-secret</Password><TimeToLive>600</TimeToLive>"
        "<SessionCookie>wv:nokia.1</SessionCookie></Login-Request>"
    )
    client.session = client.text(client.ask(login), "SessionID")
    if code == "600":
        clock.advance(601)
    elif code == "601":
        old, client.session = client.session, ""
        client.ask(login)
        client.session = old
    else:
        client.session = "gone"
    assert client.text(client.ask("<KeepAlive-Request/>"), "Result/Code") == code


def test_symbians_extension_block_does_no_harm(node: Node, core: Core) -> None:
    """APIClient rides in its SendMessage of 1.2, within the primitive or beside it."""
    client = Client(node, "1.2", "nok")
    login = (
        f"<Login-Request><UserID>wv:alice@example.com</UserID>{SYMBIAN_ID}"
        "<Password>alice-secret</Password><TimeToLive>600</TimeToLive>"
        "<SessionCookie>wv:nokia.1</SessionCookie></Login-Request>"
    )
    client.session = client.text(client.ask(login), "SessionID")
    block = (
        '<ExtBlock><APIClient xmlns="www.nokia.com/apiclient">game</APIClient>'
        "</ExtBlock>"
    )
    send = (
        "<SendMessage-Request><DeliveryReport>F</DeliveryReport><MessageInfo>"
        "<ContentType>text/plain</ContentType><ContentSize>5</ContentSize>"
        "<Recipient><User><UserID>wv:bob@example.com</UserID></User></Recipient>"
        "<Sender><User><UserID>wv:alice@example.com</UserID></User></Sender>"
        "</MessageInfo><ContentData>hello</ContentData>{}</SendMessage-Request>"
    )
    for content in (send.format(block), send.format("") + block):
        assert client.text(client.ask(content), "Result/Code") == "200"
    assert [m.body for m in core.of("MESSAGE")] == [b"hello"] * 2
