"""CSP in XML: what is read, what is written, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.csp import xmlsyntax
from gateway.csp.catalogue import PRIMITIVES
from gateway.csp.common import (
    AcceptedContentType,
    CapabilityList,
    ClientCapabilityRequest,
    ExtendedRequest,
    PollingRequest,
    Result,
    SearchPairList,
    SearchRequest,
    Status,
    VersionDiscoveryRequest,
    VersionDiscoveryResponse,
    VersionList,
)
from gateway.csp.envelope import Faulty, Message, Mode, Transaction, Version
from gateway.csp.messaging import (
    BlockEntityRequest,
    BlockList,
)
from gateway.csp.schema import Primitive
from gateway.csp.xmlsyntax import decode, encode
from gateway.errors import Malformed, UnsupportedMedia
from tests.csp.documents import CSP12, SEND, TRC12, document, sent, wrap
from tests.csp.strategies import messages

OWN = sorted((Path(__file__).parents[1] / "vectors" / "own").glob("*.xml"))
V1_1, V1_2, V1_3 = Version


def read(primitive: str, **around: str) -> Primitive:
    """The primitive that a decoder makes of the XML of one, however it reads it."""
    body = document(primitive, **around)
    message = decode(body)
    assert decode(body) == message  # by the markup, now that it is known
    assert xmlsyntax._read(body) == message
    return message.transactions[0].primitive


def canonical(body: bytes) -> bytes:
    return etree.tostring(etree.fromstring(body), method="c14n")


# Vectors and round trips


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_own_vectors_round_trip(path: Path) -> None:
    """Each is read without fault and written as it was."""
    body = path.read_bytes()
    message = decode(body)
    assert not any(isinstance(t.primitive, Faulty) for t in message.transactions)
    assert canonical(encode(message)) == canonical(body)


def test_own_vectors_are_there() -> None:
    """All forty of them."""
    assert len(OWN) == 40


CARRIED = [
    (cls, version)
    for cls in PRIMITIVES.values()
    for version in Version
    if cls.known_in(version)
]


@pytest.mark.parametrize(
    ("cls", "version"), CARRIED, ids=lambda p: getattr(p, "NAME", None) or p.text
)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_every_primitive_round_trips(
    cls: type[Primitive], version: Version, data: st.DataObject
) -> None:
    """What is written is read back the same, by markup and by tree."""
    alone = issubclass(cls, VersionDiscoveryRequest | VersionDiscoveryResponse)
    message = data.draw(messages(cls, version, max_transactions=1 if alone else 2))
    body = encode(message)
    if alone:
        mode = Mode.REQUEST if cls is VersionDiscoveryRequest else Mode.RESPONSE
        only = Transaction(
            id=None, mode=mode, primitive=message.transactions[0].primitive
        )
        message = Message(version=version, session_id=None, transactions=(only,))
    assert decode(body) == message
    assert xmlsyntax._read(body) == message


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1", "us-ascii", "koi8-r"])
def test_other_character_sets_round_trip(charset: str) -> None:
    """What a character set lacks travels as a reference."""
    message = wrap(Status(result=Result(code=200, description="Grüße, Привет, 中")))
    body = encode(message, charset)
    assert decode(body) == message
    assert decode(body, charset) == message


def test_transport_charset_overrides_the_declaration() -> None:
    """RFC 7303: the transport knows best."""
    before = '<?xml version="1.0" encoding="utf-8"?>'
    body = document(
        "<Status><Result><Code>200</Code><Description>é</Description></Result></Status>",
        before=before,
    )
    latin = body.decode().encode("iso-8859-1")
    status = decode(latin, "ISO-8859-1").transactions[0].primitive
    assert status == Status(result=Result(code=200, description="é"))
    with pytest.raises(Malformed):
        decode(latin)


@pytest.mark.parametrize("charset", ["martian", "rot13", "punycode", "\x00"])
def test_no_character_set(charset: str) -> None:
    """Nor is a codec one that transforms text."""
    with pytest.raises(UnsupportedMedia):
        decode(document("<Polling-Request/>"), charset)
    with pytest.raises(UnsupportedMedia):
        encode(wrap(PollingRequest()), charset)


# Reading: what real clients do


@pytest.mark.parametrize(
    ("written", "content"),
    [
        ("hi", "hi"),
        (" hi\n", " hi\n"),
        ("", ""),
        ("a &lt;b&gt; &amp; &quot;&apos; &#65;&#x42;", "a <b> & \"' AB"),
        ("a\r\nb", "a\nb"),
        ("a&#13;b", "a\rb"),
        ("<![CDATA[<x>&amp;]]>y", "<x>&amp;y"),
        ("a<!-- no -->b", "ab"),
        ("a<?pi ?>b", "ab"),
        ("a>b", "a>b"),
        ("\U0010ffff\u00a0", "\U0010ffff\u00a0"),
    ],
)
def test_content_is_kept(written: str, content: str) -> None:
    """Blanks and all; references, CDATA and comments are XML's own business."""
    assert read(SEND.format("", written)) == sent(content)


@pytest.mark.parametrize(
    "written", ["&#0;", "&#8;", "&#xFFFE;", "&#xD800;", "&x;", "&"]
)
def test_content_that_is_no_xml(written: str) -> None:
    """References to no character, or to nothing."""
    decode(document(SEND.format("", "hi")))  # the markup is known
    with pytest.raises(Malformed):
        decode(document(SEND.format("", written)))


@pytest.mark.parametrize("written", ["a\x00", "a\x1f", "a\ufffe", "]]>", "a\x0b"])
def test_content_with_forbidden_characters(written: str) -> None:
    """XML 1.0 2.2 and 2.4, also where the markup is known."""
    decode(document(SEND.format("", "hi")))
    with pytest.raises(Malformed):
        decode(document(SEND.format("", written)))


@pytest.mark.parametrize(
    "stray",
    [
        "<Unknown/>",
        "<Unknown><ContentData>no</ContentData></Unknown>",
        "stray text",
        "<!-- comment -->",
        '<x:y xmlns:x="urn:x">z</x:y>',
        "\n\t ",
    ],
)
def test_unknown_children_are_ignored(stray: str) -> None:
    """Receivers must: extensions of other makers."""
    assert read(SEND.format(stray, "hi")) == sent("hi")


def test_layout_is_no_value() -> None:
    """Tokens lose the blanks around them; an indented document is the same one."""
    plain = document(SEND.format("", "hi"))
    indented = plain.replace(b"><", b">\n  <").replace(b">wv:a<", b">\n wv:a\n<")
    assert decode(indented) == decode(plain)
    assert decode(b"\n" + plain + b"\n") == decode(plain)


@pytest.mark.parametrize(
    ("csp", "trc", "version"),
    [
        ("http://www.wireless-village.org/CSP1.1", "", V1_1),
        ("http://www.openmobilealliance.org/DTD/IMPS-CSP1.3", "", V1_3),
        ("http://www.openmobilealliance.org/WV-CSP1.2", "", V1_2),
        ("", "http://www.openmobilealliance.org/DTD/IMPS-TRC1.3", V1_3),
        ("", "http://www.wireless-village.org/TRC1.1", V1_1),
        ("", "", V1_2),
        # The message decides where the two differ.
        ("http://www.wireless-village.org/CSP1.1", TRC12, V1_1),
    ],
)
def test_version_is_told_by_the_namespaces(
    csp: str, trc: str, version: Version
) -> None:
    """Of the message, else of the transaction, else 1.2."""
    message = decode(document("<Polling-Request/>", csp=csp, trc=trc))
    assert message.version is version
    assert message.transactions[0].primitive == PollingRequest()


@pytest.mark.parametrize(
    ("csp", "nearest"),
    [
        ("http://www.wireless-village.org/CSP1.0", V1_1),
        ("http://www.openmobilealliance.org/DTD/IMPS-CSP1.4", V1_3),
        ("http://www.openmobilealliance.org/DTD/IMPS-CSP2.0", V1_3),
        ("urn:nonsense", V1_2),
    ],
)
def test_versions_that_nobody_speaks(csp: str, nearest: Version) -> None:
    """Every transaction is answered with 505, in the nearest version."""
    message = decode(document("<Polling-Request/>", csp=csp))
    assert message.version is nearest
    (transaction,) = message.transactions
    assert transaction.id == "7"
    assert transaction.primitive == Faulty(
        name="Polling-Request", code=505, description="Version not supported"
    )


def test_prefixed_namespaces() -> None:
    """A prefix is as good as a default namespace."""
    body = (
        f'<m:WV-CSP-Message xmlns:m="{CSP12}" xmlns:t="{TRC12}"><m:Session>'
        "<m:Transaction><m:TransactionContent><t:Polling-Request/>"
        "</m:TransactionContent></m:Transaction></m:Session></m:WV-CSP-Message>"
    ).encode()
    message = decode(body)
    assert message.version is V1_2
    assert message.transactions[0].primitive == PollingRequest()


def test_document_type_without_declarations() -> None:
    """Samples of 1.1 have one; nothing is fetched for it."""
    doctype = '<!DOCTYPE WV-CSP-Message PUBLIC "-//OMA//x" "http://x.invalid/[>.dtd">'
    body = document("<Polling-Request/>", before=f'<?xml version="1.0"?>\n{doctype}\n')
    assert decode(body).transactions[0].primitive == PollingRequest()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("<BlockUser-Request><BlockList/></BlockUser-Request>", BlockEntityRequest),
        (
            "<KeepAliveResponse><Result><Code>200</Code></Result></KeepAliveResponse>",
            None,
        ),
    ],
)
def test_other_names_are_understood(
    written: str, meant: type[Primitive] | None
) -> None:
    """Names of other versions and of known clients."""
    found = read(written)
    assert type(found) is (meant or PRIMITIVES["KeepAlive-Response"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("T", True),
        ("F", False),
        ("t", True),
        (" f ", False),
        ("TRUE", True),
        ("", None),
    ],
)
def test_booleans(text: str, value: bool | None) -> None:
    """Either case, blanks around; an empty one is left out."""
    block = f"<BlockList><InUse>{text}</InUse></BlockList>"
    found = read(f"<BlockEntity-Request>{block}</BlockEntity-Request>")
    assert found == BlockEntityRequest(block_list=BlockList(in_use=value))


@pytest.mark.parametrize("text", ["1.1", "-1", "0x10", "١", "9" * 21, "five"])
def test_numbers_that_are_none(text: str) -> None:
    """A bad value is answered with 402 and its element's name."""
    found = read(
        f"<KeepAlive-Request><TimeToLive>{text}</TimeToLive></KeepAlive-Request>"
    )
    assert isinstance(found, Faulty)
    assert (found.name, found.code) == ("KeepAlive-Request", 402)
    assert found.description.startswith("TimeToLive")


@pytest.mark.parametrize(
    ("primitive", "lacking"),
    [
        ("<SendMessage-Request/>", "SendMessage-Request without MessageInfo"),
        ("<GetMessage-Request/>", "GetMessage-Request without MessageID"),
        (SEND.replace("<ContentSize>2</ContentSize>", ""), "without ContentSize"),
        (SEND.replace("<ContentSize>2<", "<ContentSize><"), "without ContentSize"),
        ("<RejectMessage-Request/>", "RejectMessage-Request without MessageID"),
    ],
)
def test_missing_mandatory_children(primitive: str, lacking: str) -> None:
    """Answered with 400, wherever in the primitive it is."""
    found = read(primitive)
    assert isinstance(found, Faulty)
    assert found.code == 400
    assert lacking in found.description


def test_primitives_that_nobody_knows() -> None:
    """501, and also where another version knows it; a known one beside it is read."""
    assert read("<Dance-Request/>") == Faulty(
        name="Dance-Request", code=501, description="Dance-Request is not known"
    )
    assert getattr(read("<GetMap-Request/>"), "code", None) == 501
    assert read("<Dance-Request/><Polling-Request/>") == PollingRequest()
    assert getattr(read(""), "code", None) == 400


def test_one_faulty_transaction_spoils_no_other() -> None:
    """Each is answered for itself."""
    good = document("<Polling-Request/>")
    transaction = good[good.index(b"<Transaction>") : good.index(b"</Session>")]
    bad = transaction.replace(b"Polling-Request", b"Status")
    body = good.replace(b"</Session>", bad + b"</Session>")
    first, second = decode(body).transactions
    assert first.primitive == PollingRequest()
    assert isinstance(second.primitive, Faulty)


@pytest.mark.parametrize(
    ("descriptor", "session_id"),
    [
        ("<SessionType>Outband</SessionType>", None),
        ("<SessionType>Outband</SessionType><SessionID>s</SessionID>", None),
        ("<SessionType>inband</SessionType><SessionID> s </SessionID>", "s"),
        ("<SessionType>Inband</SessionType>", ""),
        ("<SessionID>s</SessionID>", "s"),
        ("", None),
    ],
)
def test_sessions(descriptor: str, session_id: str | None) -> None:
    """Outband is None; Inband without an ID is a session that nobody has."""
    body = document("<Polling-Request/>").replace(
        b"<SessionType>Inband</SessionType><SessionID>s</SessionID>",
        descriptor.encode(),
    )
    assert decode(body).session_id == session_id


def test_descriptor_may_lack_all() -> None:
    """No mode is a request, no ID is None: polling of a known client."""
    start, end = b"<TransactionDescriptor>", b"</TransactionDescriptor>"
    body = document("<Polling-Request/>")
    bare = body[: body.index(start)] + body[body.index(end) + len(end) :]
    for variant in (bare, body.replace(b"<TransactionID>7<", b"<TransactionID> <")):
        (transaction,) = decode(variant).transactions
        assert transaction.id is None
        assert transaction.mode is Mode.REQUEST


def test_search_conditions_packed_into_one_list() -> None:
    """1.3 may repeat the parts, with or without SearchPair around each."""
    conditions = (
        SearchPairList(search_element="A", search_string="1", pair_id=1),
        SearchPairList(search_element="B", search_string="2"),
        SearchPairList(search_element="C", search_string="3", pair_id=3),
    )
    parts = [
        f"<SearchElement>{name}</SearchElement><SearchString>{number}</SearchString>{pair}"
        for name, number, pair in (
            ("A", 1, "<PairID>1</PairID>"),
            ("B", 2, ""),
            ("C", 3, "<PairID>3</PairID>"),
        )
    ]
    flat = f"<SearchPairList>{''.join(parts)}</SearchPairList>"
    wrapped = "".join(f"<SearchPair>{part}</SearchPair>" for part in parts)
    namespaces = {
        "csp": "http://www.openmobilealliance.org/DTD/IMPS-CSP1.3",
        "trc": "http://www.openmobilealliance.org/DTD/IMPS-TRC1.3",
    }
    for packed in (flat, f"<SearchPairList>{wrapped}</SearchPairList>"):
        found = read(f"<Search-Request>{packed}</Search-Request>", **namespaces)
        assert found == SearchRequest(search_pair_list=conditions)


@pytest.mark.parametrize("place", ["primitive", "content", "transaction"])
def test_extension_blocks_are_kept(place: str) -> None:
    """Wherever a client puts it, and whatever is in it, with its namespaces."""
    client = '<APIClient xmlns="www.nokia.com/apiclient">1 &lt;</APIClient>'
    block = f"<ExtBlock>{client}</ExtBlock>"
    body = document(SEND.format(block if place == "primitive" else "", "hi")).decode()
    if place == "content":
        body = body.replace("<SendMessage-Request>", f"{block}<SendMessage-Request>")
    if place == "transaction":
        body = body.replace("</Transaction>", f"{block}</Transaction>")
    for _ in range(2):
        message = decode(body.encode())
        (transaction,) = message.transactions
        assert transaction.primitive == sent("hi")
        (kept,) = transaction.ext_blocks
        assert kept == client
        assert decode(encode(message)) == message


def test_flags_of_the_envelope() -> None:
    """Poll is taken wherever a version has it; nonsense is no flag."""
    body = document("<Polling-Request/>")
    late = body.replace(b"</Session>", b"<Poll>T</Poll><CIR>F</CIR></Session>")
    assert (decode(late).poll, decode(late).cir) == (True, False)
    early = body.replace(b"</TransactionDesc", b"<Poll>T</Poll></TransactionDesc")
    assert decode(early).poll is True
    odd = body.replace(b"</Session>", b"<Poll>maybe</Poll></Session>")
    assert decode(odd).poll is None


def test_content_types_of_old_versions_are_text() -> None:
    """A structure in 1.3, text before; either is taken from any version."""
    text = "<AcceptedContentType>text/plain</AcceptedContentType>"
    nested = text.replace("text/plain", "<ContentType>text/plain</ContentType>")
    for written in (text, nested):
        found = read(
            "<ClientCapability-Request><CapabilityList><ClientType>PDA</ClientType>"
            f"<InitialDeliveryMethod>P</InitialDeliveryMethod>{written}"
            "</CapabilityList></ClientCapability-Request>"
        )
        accepted = AcceptedContentType(content_type="text/plain")
        assert found == ClientCapabilityRequest(
            capability_list=CapabilityList(
                client_type="PDA",
                initial_delivery_method="P",
                accepted_content_type=(accepted,),
            )
        )


def test_version_discovery_is_a_document_of_its_own() -> None:
    """Whatever namespace it is in."""
    for xmlns in ("", ' xmlns="urn:nonsense"', f' xmlns="{CSP12}"'):
        body = (
            f"<WV-CSP-VersionDiscovery-Request{xmlns}><VersionList>"
            "<SessionNSName>x</SessionNSName></VersionList>"
            "</WV-CSP-VersionDiscovery-Request>"
        ).encode()
        (transaction,) = decode(body).transactions
        assert transaction.primitive == VersionDiscoveryRequest(
            version_list=VersionList(session_ns_name=("x",))
        )
        assert decode(body).session_id is None
    nothing = decode(b"<WV-CSP-VersionDiscovery-Request/>").transactions[0].primitive
    assert isinstance(nothing, Faulty)


def test_foreign_requests_are_kept() -> None:
    """Extended-Request is text or XML of others."""
    xml = '<a xmlns="urn:x">b</a>'
    assert read(f"<Extended-Request>{xml}</Extended-Request>") == ExtendedRequest(
        content=xml
    )
