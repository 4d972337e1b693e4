"""CSP messages as XML (CSP XML syntax 1.1 to 1.3).

`decode` is lenient in what the reference tells of real clients and strict in what could
hurt: entities, internal DTD subsets, depth and counts are bounded before or by the
parser, nothing is ever fetched. `encode` is strict: what the version knows, by its
names, in its order and namespaces.
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from gateway.csp.catalogue import primitive_named
from gateway.csp.charsets import to_utf8
from gateway.csp.common import (
    VersionDiscoveryRequest,
    VersionDiscoveryResponse,
)
from gateway.csp.envelope import Faulty, Message, Mode, Transaction
from gateway.csp.namespaces import is_ours, version_of
from gateway.csp.schema import Primitive, Version
from gateway.csp.shared import SegmentInfo
from gateway.csp.values import read_boolean
from gateway.csp.xmlreader import PARSER, Fault, Node, foreign, reader, split
from gateway.csp.xmlwriter import write
from gateway.errors import Malformed, TooLarge

__all__ = ["decode", "encode"]

MAX_DEPTH = 32
MAX_ELEMENTS = 20_000
MAX_TRANSACTIONS = 64

_ROOT = "WV-CSP-Message"
_DISCOVERY = (VersionDiscoveryRequest, VersionDiscoveryResponse)
# What follows the external identifier must be the end: no declarations of its own.
_DOCTYPE = re.compile(rb"<!DOCTYPE(?:[^\[>\"']|\"[^\"]*\"|'[^']*')*(.?)", re.DOTALL)
_TOO_DEEP = etree.XPath("boolean(" + "/*" * (MAX_DEPTH + 1) + ")")
encode = write


def decode(body: bytes, charset: str | None = None) -> Message:
    """Read one message.

    ``charset`` is that of the transport and overrides the declaration in the document.
    Raises Malformed when the bytes are not CSP in XML, TooLarge when they pass a limit,
    UnsupportedMedia when nobody knows the character set. A primitive that is
    well-formed and wrong comes as `Faulty`.
    """
    root = _parse(to_utf8(body, charset))
    namespace, name = split(root.tag)
    if name == _ROOT:
        return _message(root, namespace)
    primitive = primitive_named(name)
    if primitive in _DISCOVERY:
        return _discovery(root, namespace, name)
    raise Malformed(f"the root element is not {_ROOT}")


def _parse(document: bytes) -> Node:
    """The root element of a UTF-8 document that keeps the limits."""
    starts = document.count(b"<")
    if starts > MAX_ELEMENTS:
        # An upper bound; end tags, comments and the declaration are not elements.
        starts -= document.count(b"</") + document.count(b"<!") + document.count(b"<?")
        if starts > MAX_ELEMENTS:
            raise TooLarge("too many elements")
    typed = b"<!DOCTYPE" in document
    if typed and any(end != b">" for end in _DOCTYPE.findall(document)):
        raise Malformed("the document type has declarations of its own")
    try:
        root = etree.fromstring(document, PARSER)
    except etree.XMLSyntaxError as error:
        line = error.position[0] if error.position else 0
        raise Malformed(f"not well-formed XML, line {line}") from None
    if starts > MAX_DEPTH and _TOO_DEEP(root):
        raise TooLarge("too deeply nested")
    # Without declarations only undeclared entities are left to refer to.
    if typed and next(root.iter(etree.Entity), None) is not None:
        raise Malformed("reference to an entity")
    return root


_ENVELOPE = frozenset(
    "Session SessionDescriptor SessionType SessionID Transaction TransactionDescriptor"
    " TransactionMode TransactionID SegmentInfo Poll CIR TransactionContent"
    " ExtBlock".split()
)
_NAMES: dict[str, str] = {}


def _local(tag: str) -> str:
    """The local name of a tag of the envelope."""
    name = _NAMES.get(tag)
    if name is None:
        namespace, name = split(tag)
        if name in _ENVELOPE and (not namespace or is_ours(namespace)):
            _NAMES[tag] = name
    return name


def _message(root: Node, namespace: str) -> Message:
    """Read what is in a message; Outband is a session of None, Inband without ID ""."""
    version, spoken = _version(root, namespace)
    session_id: str | None = None
    poll: bool | None = None
    cir: bool | None = None
    transactions: list[Transaction] = []
    for child in next((part for part in root if _local(part.tag) == "Session"), ()):
        name = _local(child.tag)
        if name == "Transaction":
            transaction, flag = _transaction(child, version, spoken)
            transactions.append(transaction)
            poll = flag if flag is not None else poll
            if len(transactions) > MAX_TRANSACTIONS:
                raise TooLarge("too many transactions")
        elif name == "SessionDescriptor":
            session_id = _session_id(child)
        elif name == "Poll":
            poll = _flag(child)
        elif name == "CIR":
            cir = _flag(child)
    return Message(
        version=version,
        session_id=session_id,
        transactions=tuple(transactions),
        poll=poll,
        cir=cir,
    )


def _version(root: Node, namespace: str) -> tuple[Version, bool]:
    """The version by the message's namespace, else the transaction's, else 1.2."""
    if not namespace:
        for node in root.iter("{*}TransactionContent"):
            namespace = split(node.tag)[0]
            break
    return version_of(namespace) if namespace else (Version.V1_2, True)


def _session_id(descriptor: Node) -> str | None:
    kind = ""
    session_id = None
    for child in descriptor:
        name = _local(child.tag)
        if name == "SessionType":
            kind = (child.text or "").strip().lower()
        elif name == "SessionID":
            session_id = (child.text or "").strip()
    if kind == "outband":
        return None
    return session_id or "" if kind == "inband" else session_id or None


def _flag(node: Node) -> bool | None:
    """A flag of the envelope; one that says neither T nor F says nothing."""
    try:
        return read_boolean(node.text or "")
    except ValueError:
        return None


def _transaction(
    node: Node, version: Version, spoken: bool
) -> tuple[Transaction, bool | None]:
    """Read one transaction and the Poll flag that 1.1 keeps in its descriptor."""
    mode = Mode.REQUEST
    identifier: str | None = None
    poll: bool | None = None
    segment: SegmentInfo | None = None
    content: Node = ()
    blocks: list[Node] = []
    primitive: Primitive | None = None
    for child in node:
        name = _local(child.tag)
        if name == "TransactionContent":
            content = child
        elif name == "ExtBlock":
            blocks.append(child)
        elif name == "TransactionDescriptor":
            for part in child:
                name = _local(part.tag)
                if name == "TransactionMode":
                    if (part.text or "").strip().lower() == "response":
                        mode = Mode.RESPONSE
                elif name == "TransactionID":
                    identifier = (part.text or "").strip() or None
                elif name == "Poll":
                    poll = _flag(part)
                elif name == "SegmentInfo":
                    try:
                        segment = _read_segment(part, version, blocks)
                    except Fault as fault:
                        primitive = _faulty(name, fault)
    if primitive is None:
        primitive = _primitive(content, version, spoken, blocks)
    return Transaction(
        id=identifier,
        mode=mode,
        primitive=primitive,
        segment=segment,
        ext_blocks=tuple(map(foreign, blocks)),
    ), poll


_read_segment = reader(SegmentInfo)
_PRIMITIVES: dict[str, tuple[type[Primitive], Any]] = {}


def _primitive(
    content: Node, version: Version, spoken: bool, blocks: list[Node]
) -> Primitive:
    """Read the first primitive that is known; without one, say what is wrong."""
    unknown = ""
    for child in content:
        tag = child.tag
        known = _PRIMITIVES.get(tag) or _meet(tag)
        if known is None:
            if split(tag)[1] == "ExtBlock":
                blocks.append(child)
            else:
                unknown = unknown or split(tag)[1]
            continue
        cls, read = known
        if not spoken:
            return Faulty(
                name=split(tag)[1], code=505, description="Version not supported"
            )
        if not cls.SINCE <= version <= cls.UNTIL:
            unknown = unknown or split(tag)[1]
            continue
        try:
            return read(child, version, blocks)  # type: ignore[no-any-return]
        except Fault as fault:
            return _faulty(split(tag)[1], fault)
    if not spoken:
        return Faulty(name=unknown, code=505, description="Version not supported")
    if unknown:
        return Faulty(name=unknown, code=501, description=f"{unknown} is not known")
    return Faulty(name="", code=400, description="Transaction without a primitive")


def _meet(tag: str) -> tuple[type[Primitive], Any] | None:
    """The primitive of a tag that was not met before, and its reader."""
    namespace, name = split(tag)
    cls = primitive_named(name)
    if cls is None:
        return None
    known = cls, reader(cls)
    if not namespace or is_ours(namespace):
        _PRIMITIVES[tag] = known
    return known


def _faulty(name: str, fault: Fault) -> Faulty:
    return Faulty(name=name, code=fault.code, description=fault.description)


def _discovery(root: Node, namespace: str, name: str) -> Message:
    """Version discovery is a document of its own, without session or transaction."""
    version, spoken = version_of(namespace) if namespace else (Version.V1_2, True)
    if not spoken or version < Version.V1_2:
        # Whoever asks which versions there are must get an answer.
        version = Version.V1_2
    primitive = _primitive((root,), version, True, [])
    mode = Mode.RESPONSE if name.endswith("Response") else Mode.REQUEST
    return Message(
        version=version,
        session_id=None,
        transactions=(Transaction(id=None, mode=mode, primitive=primitive),),
    )
