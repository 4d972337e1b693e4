"""The cases of RFC 4475, each by the name it has there, in messages of our own.

What the RFC leaves open (an element "might" reject or repair) is refused here, and
those that concern the meaning of a well-formed message are read here and judged by
whoever serves the method.
"""

from __future__ import annotations

import pytest

from gateway.errors import Malformed
from gateway.sip.message import (
    NameAddr,
    Request,
    Response,
    SipMalformed,
    StreamParser,
    Uri,
    parse,
)
from gateway.sip.routing import Hop
from gateway.sip.transaction import RequestReceived, TransactionLayer


def build(start: str, *, body: bytes = b"", **fields: str | None) -> bytes:
    """Make a message of usual fields; None leaves one out, ``_`` stands for ``-``."""
    method = start.split(" ", 1)[0]
    usual: dict[str, str | None] = {
        "Via": "SIP/2.0/UDP host.example.com;branch=z9hG4bK342sdfoi3",
        "Max-Forwards": "70",
        "From": "<sip:caller@example.net>;tag=242etr",
        "To": "<sip:user@example.com>",
        "Call-ID": "case.0ha0isndaksdj@192.0.2.1",
        "CSeq": f"8 {method}",
        "Content-Length": str(len(body)),
    }
    usual.update({name.replace("_", "-"): value for name, value in fields.items()})
    lines = [start, *(f"{n}: {v}" for n, v in usual.items() if v is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


OPTIONS = "OPTIONS sip:user@example.com SIP/2.0"
INVITE = "INVITE sip:user@example.com SIP/2.0"
REGISTER = "REGISTER sip:example.com SIP/2.0"


def read(data: bytes) -> Request:
    """Parse what must be a request."""
    message = parse(data)
    assert isinstance(message, Request)
    return message


def test_wsinv() -> None:
    """3.1.1.1: folding, blanks, escapes and compact forms all over."""
    message = read(
        b"INVITE sip:vivekg@chair.example.com;unknownparam SIP/2.0\r\n"
        b"TO :\r\n sip:vivekg@chair.example.com ;   tag    = 1918181833n\r\n"
        b'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n'
        b"  ;\r\n  tag = 98asjd8\r\n"
        b"MaX-fOrWaRdS: 0068\r\n"
        b"Call-ID: wsinv.ndaksdj@192.0.2.1\r\n"
        b"Content-Length   : 2\r\n"
        b"cseq: 0009\r\n  INVITE\r\n"
        b"Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n"
        b"s :\r\n"
        b"NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
        b"UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n"
        b"Content-Type: application/sdp\r\n"
        b"Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no>\r\n"
        b"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n"
        b"  branch  =   z9hG4bK9ikj8  ,\r\n"
        b" SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n"
        b'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n'
        b"      newvalue ;\r\n  secondparam ; q = 0.33\r\n"
        b"\r\nv="
    )
    assert message.to.tag == "1918181833n"
    assert message.from_.display == 'J Rosenberg \\"' and message.from_.tag == "98asjd8"
    assert str(message.cseq) == "9 INVITE"
    assert message.via.branch == "390skdjuw"
    assert len(message.headers.values("Via")) == 3
    assert message.headers.get("Subject") == ""
    assert (
        message.headers.get("newfangledheader")
        == "newfangled value continued newfangled value"
    )
    contact = NameAddr.parse(message.headers.values("Contact")[0])
    assert contact.display == 'Quoted string ""'
    assert contact.params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    assert read(message.encode()).body == b"v="


def test_intmeth() -> None:
    """3.1.1.2: the widest range of characters that the grammar allows."""
    method = "!interesting-Method0123456789_*+`.%indeed'~"
    uri = (
        "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
        ":&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com"
    )
    message = read(
        build(
            f"{method} {uri} SIP/2.0",
            Via="SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~",
            To='"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <' + uri + ">",
            From="token1~` token2'+_ token3*%!.- <sip:mundane@example.com>"
            ";fromParam''~+*_!.-%=\"\u0440\u0430\u0431\";tag=_token~1'+`*%!-.",
            Call_ID="intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
        )
    )
    assert message.method == method and message.cseq.method == method
    assert Uri.parse(message.uri).host == "example.com"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.from_.param("fromparam''~+*_!.-%") == "\u0440\u0430\u0431"
    assert message.via.branch == "z9hG4bK-.!%66*_+`'~"
    assert message.to.uri.user is not None and "\0" not in message.to.display
    assert message.call_id.endswith("][?}{")


@pytest.mark.parametrize(
    "data",
    [
        # esc01, escnull, esc02: percent escapes are kept and not interpreted.
        build("INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0"),
        build(
            REGISTER,
            To="sip:null-%00-null@example.com",
            Contact="<sip:%00@host5.example.com>",
        ),
        build("RE%47IST%45R sip:registrar.example.com SIP/2.0"),
        # lwsdisp: no blank between display name and <.
        build(OPTIONS, From="caller<sip:caller@example.com>;tag=323"),
        # longreq: long values.
        build(INVITE, From=f'"{"Amazing " * 300}" <sip:caller@example.com>;tag=1'),
        # semiuri: a semicolon in the user part.
        build("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0"),
        # mpart01: a body of any bytes.
        build("MESSAGE sip:kumiko@example.org SIP/2.0", body=bytes(range(256))),
        # zeromf, cparam01, regescrt, unkscm, bext01 and invut mean something to the
        # user of the message alone.
        build(OPTIONS, Max_Forwards="0"),
        build(REGISTER, Contact="<sip:+19725552222@gw1.example.net;unknownparam>"),
        build("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"),
        build("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0"),
        build(OPTIONS, Require="nothingSupportsThis"),
        build(INVITE, Content_Type="application/unknownformat"),
        build(REGISTER, Authorization="NoOneKnowsThisScheme opaque-data=here"),
        build(OPTIONS, Accept="text/nobodyKnowsThis"),
        # unksm2, sdp01: other schemes in From, To and Contact.
        build(OPTIONS, To="isbn:2983792873", From="<http://www.example.com>;tag=3234"),
        # baddate: the Date is not ours to judge.
        build(INVITE, Date="Fri, 01 Jan 2010 16:00:00 EST"),
        # transports: a Via of any transport.
        build(OPTIONS, Via="SIP/2.0/UNKNOWN t5.example.com;branch=z9hG4bKa"),
        # badaspec, baddn: blanks within <>, a comma in an unquoted name (repaired).
        build(OPTIONS, To='"Watson, Thomas" < sip:t.watson@example.org >'),
        build(OPTIONS, From="Bell, Alexander <sip:a.g.bell@example.com>;tag=43"),
    ],
)
def test_valid(data: bytes) -> None:
    """3.1.1, 3.3: these are read, and written again they read the same."""
    message = read(data)
    assert message.via.branch
    assert message.from_.tag and message.to.uri.scheme
    assert read(message.encode()) == message


def test_dblreq() -> None:
    """3.1.1.7: of two requests in one datagram the first counts; a stream has both."""
    first, second = build(REGISTER), build(INVITE)
    assert read(first + second).method == "REGISTER"
    found = StreamParser().feed(first + b"\r\n" + second)
    assert [m.method for m in found if isinstance(m, Request)] == ["REGISTER", "INVITE"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e", "= 2**3 * 5**2 \u043d\u043e"),
        ("SIP/2.0 100 ", ""),
    ],
)
def test_unreason_and_noreason(line: str, reason: str) -> None:
    """3.1.1.12, 3.1.1.13: phrases of any text or none."""
    message = parse(build(line, CSeq="35 INVITE"))
    assert isinstance(message, Response) and message.reason == reason


REFUSED = {
    "clerr": build(INVITE, Content_Length="9999"),
    "ncl": build(INVITE, Content_Length="-999"),
    "scalar02 CSeq": build(REGISTER, CSeq="36893488147419103232 REGISTER"),
    "scalar02 Max-Forwards": build(REGISTER, Max_Forwards="300"),
    "quotbal": build(INVITE, To='"Mr. J. User <sip:j.user@example.com>'),
    "ltgtruri": build("INVITE <sip:user@example.com> SIP/2.0"),
    "lwsruri": build("INVITE sip:user@example.com; lr SIP/2.0"),
    "lwsstart": build("INVITE  sip:user@example.com  SIP/2.0"),
    "trws": build("OPTIONS sip:remote-target@example.com SIP/2.0  "),
    "mismatch01": build(OPTIONS, CSeq="8 INVITE"),
    "mismatch02": build("NEWMETHOD sip:user@example.com SIP/2.0", CSeq="8 INVITE"),
    "insuf": build(INVITE, CSeq=None, Call_ID=None, From=None, To=None),
    "multi01": build(INVITE, f="<sip:other.caller@example.net>;tag=3", i="other"),
    "mcl01": build(OPTIONS, l="5", body=b"There's no way to know how many octets"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refused(data: bytes) -> None:
    """3.1.2, 3.3: these are answered 400."""
    with pytest.raises(SipMalformed) as caught:
        parse(data)
    assert caught.value.status == 400 and caught.value.request is not None


def test_badvers() -> None:
    """3.1.2.16: SIP/7.0 is answered 505."""
    with pytest.raises(SipMalformed) as caught:
        parse(build("OPTIONS sip:t.watson@example.org SIP/7.0"))
    assert caught.value.status == 505 and caught.value.request is not None


@pytest.mark.parametrize(
    "data",
    [
        # scalarlg, bigcode.
        build("SIP/2.0 503 Unavailable", CSeq="9292394834772304023312 OPTIONS"),
        build("SIP/2.0 4294967301 better not break the receiver", CSeq="8 INVITE"),
    ],
)
def test_dropped(data: bytes) -> None:
    """3.1.2.5, 3.1.2.19: bad responses are dropped."""
    with pytest.raises(SipMalformed) as caught:
        parse(data)
    assert caught.value.request is None


def test_badinv01() -> None:
    """3.1.2.1: superfluous separators: neither Via nor Contact can be read."""
    message = read(
        build(
            INVITE,
            Via="SIP/2.0/UDP 192.0.2.15;;,;,,",
            Contact='"Joe" <sip:joe@example.org>;;;;',
        )
    )
    with pytest.raises(Malformed):
        _ = message.via
    with pytest.raises(Malformed):
        NameAddr.parse(message.headers.values("Contact")[0])


def test_regbadct_and_escruri() -> None:
    """3.1.2.11, 3.1.2.13: escaped headers need <>, and stay apart from the address."""
    with pytest.raises(Malformed):
        NameAddr.parse("sip:user@example.com?Route=%3Csip:sip.example.com%3E")
    uri = Uri.parse("sip:user@example.com?Route=%3Csip:example.com%3E")
    assert uri.headers and uri.aor == "sip:user@example.com"


@pytest.mark.parametrize(
    "via",
    [
        "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK",  # badbranch: the cookie alone
        "SIP/2.0/UDP iftgw.example.com",  # inv2543: no branch at all
    ],
)
def test_badbranch_and_inv2543(via: str) -> None:
    """3.2.1, 3.3.15: without a branch the fields of RFC 2543 tell requests apart."""
    layer = TransactionLayer(token=iter("abc").__next__, via=lambda hop: "h")
    source = Hop("udp", "192.0.2.1", 5060)
    for cseq in ("1", "1", "2"):
        layer.receive(read(build(OPTIONS, Via=via, CSeq=f"{cseq} OPTIONS")), source, 0)
    events = [layer.next_event() for _ in range(3)]
    assert [isinstance(e, RequestReceived) for e in events] == [True, True, False]


def test_bcast() -> None:
    """3.3.10: a response to a request that we never sent is dropped."""
    layer = TransactionLayer(token=iter("abc").__next__, via=lambda hop: "h")
    answer = parse(build("SIP/2.0 200 OK", CSeq="8 INVITE"))
    layer.receive(answer, Hop("udp", "192.0.2.1", 5060), 0)
    assert layer.next_event() is None and layer.data_to_send() == []
