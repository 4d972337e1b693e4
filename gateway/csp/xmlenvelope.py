"""The reading of a whole XML message: envelope, transactions and version discovery.

Made from the tree by one walk, as readings of primitives are (`gateway.csp.xmlreader`).
"""

from __future__ import annotations

from gateway.csp.catalogue import primitive_named
from gateway.csp.common import VersionDiscoveryRequest, VersionDiscoveryResponse
from gateway.csp.envelope import Faulty, Message, Mode, Transaction
from gateway.csp.namespaces import version_of
from gateway.csp.schema import Primitive, Version, thawed
from gateway.csp.shared import SegmentInfo
from gateway.csp.values import read_boolean
from gateway.csp.xmlreader import (
    Fault,
    Node,
    Reading,
    Texts,
    Walk,
    local,
    split,
    structure,
)
from gateway.errors import Malformed, TooLarge

MAX_TRANSACTIONS = 64

_ROOT = "WV-CSP-Message"
_DISCOVERY = (VersionDiscoveryRequest, VersionDiscoveryResponse)
_MESSAGE = thawed(Message)
_TRANSACTION = thawed(Transaction)


def message(root: Node, *, numbered: bool) -> tuple[Reading, list[str]]:
    """The reading of a document, and the texts of this one unless ``numbered``.

    Raises Malformed for a document that is no CSP message, TooLarge for one with too
    many transactions, Unshared as `Walk` says.
    """
    namespace, name = split(root.tag)
    if name == _ROOT:
        version, spoken = _version(root, namespace)
        walk = Walk(version, numbered=numbered)
        return _message(root, walk, spoken), walk.texts
    if primitive_named(name) in _DISCOVERY:
        version, spoken = _version(root, namespace)
        if not spoken or version < Version.V1_2:
            # Whoever asks which versions there are must get an answer.
            version = Version.V1_2
        walk = Walk(version, numbered=numbered)
        return _discovery(root, name, walk), walk.texts
    raise Malformed(f"the root element is not {_ROOT}")


def _version(root: Node, namespace: str) -> tuple[Version, bool]:
    """The version by the message's namespace, else the transaction's, else 1.2."""
    if not namespace:
        for node in root.iter("{*}TransactionContent"):
            namespace = split(node.tag)[0]
            break
    return version_of(namespace) if namespace else (Version.V1_2, True)


def _message(root: Node, walk: Walk, spoken: bool) -> Reading:
    transactions = []
    session_type = session_id = poll = cir = -1
    has_id = False
    for child in next((part for part in root if local(part.tag) == "Session"), ()):
        name = local(child.tag)
        if name == "Transaction":
            transaction, flag = _transaction(child, walk, spoken)
            transactions.append(transaction)
            poll = flag if flag is not None else poll
        elif name == "SessionDescriptor":
            for part in child:
                name = local(part.tag)
                if name == "SessionType":
                    session_type = walk.place(part)
                elif name == "SessionID":
                    session_id, has_id = walk.place(part), True
        elif name == "Poll":
            poll = walk.place(child)
        elif name == "CIR":
            cir = walk.place(child)
    if len(transactions) > MAX_TRANSACTIONS:
        raise TooLarge("too many transactions")
    walk.texts.append("")  # what the place -1 means
    version = walk.version

    def read(texts: Texts) -> Message:
        kind = texts[session_type].strip().lower()
        identifier: str | None = texts[session_id].strip()
        if kind == "outband" or kind != "inband" and not (has_id and identifier):
            identifier = None
        made = _MESSAGE(
            version,
            identifier,
            tuple([transaction(texts) for transaction in transactions]),
            None if poll == -1 else _flag(texts[poll]),
            None if cir == -1 else _flag(texts[cir]),
        )
        made.__class__ = Message
        return made  # type: ignore[no-any-return]

    return read


def _flag(text: str) -> bool | None:
    """A flag of the envelope; one that says neither T nor F says nothing."""
    try:
        return read_boolean(text)
    except ValueError:
        return None


def _transaction(node: Node, walk: Walk, spoken: bool) -> tuple[Reading, int | None]:
    """The reading of one transaction; the place of the Poll flag in its descriptor."""
    mode = identifier = -1
    poll: int | None = None
    segment: Reading | None = None
    content: Node = ()
    walk.blocks = []
    for child in node:
        name = local(child.tag)
        if name == "TransactionContent":
            content = child
        elif name == "ExtBlock":
            walk.block(child)
        elif name == "TransactionDescriptor":
            for part in child:
                name = local(part.tag)
                if name == "TransactionMode":
                    mode = walk.place(part)
                elif name == "TransactionID":
                    identifier = walk.place(part)
                elif name == "Poll":
                    poll = walk.place(part)
                elif name == "SegmentInfo":
                    segment = structure(SegmentInfo, part, walk)
    primitive, name = _primitive(content, walk, spoken)
    blocks = tuple(walk.blocks)

    def read(texts: Texts) -> Transaction:
        part = None
        try:
            if segment is not None:
                part = segment(texts)
            obeyed: Primitive = primitive(texts)
        except Fault as fault:
            obeyed = Faulty(name=name, code=fault.code, description=fault.description)
        made = _TRANSACTION(
            texts[identifier].strip() or None,
            _mode(texts[mode]),
            obeyed,
            part,
            blocks,
        )
        made.__class__ = Transaction
        return made  # type: ignore[no-any-return]

    return read, poll


def _mode(text: str) -> Mode:
    """Request, unless it says Response: some clients leave the mode out."""
    if text == "Request":
        return Mode.REQUEST
    return Mode.RESPONSE if text.strip().lower() == "response" else Mode.REQUEST


def _primitive(content: Node, walk: Walk, spoken: bool) -> tuple[Reading, str]:
    """The reading of the first primitive that is known, and its name as sent."""
    unknown = ""
    for child in content:
        name = local(child.tag)
        cls = primitive_named(name)
        if not spoken:
            unknown = unknown or name
        elif cls is not None and cls.known_in(walk.version):
            return structure(cls, child, walk), name
        elif name == "ExtBlock":
            walk.block(child)
        else:
            unknown = unknown or name
    fault = Fault(400, "Transaction without a primitive")
    if not spoken:
        fault = Fault(505, "Version not supported")
    elif unknown:
        fault = Fault(501, f"{unknown} is not known")

    def refuse(texts: Texts) -> Primitive:
        raise fault

    return refuse, unknown


def _discovery(root: Node, name: str, walk: Walk) -> Reading:
    """Version discovery is a document of its own, without session or transaction."""
    primitive, _ = _primitive((root,), walk, True)
    walk.texts.append("")
    mode = Mode.RESPONSE if name.endswith("Response") else Mode.REQUEST

    def read(texts: Texts) -> Message:
        try:
            obeyed: Primitive = primitive(texts)
        except Fault as fault:
            obeyed = Faulty(name=name, code=fault.code, description=fault.description)
        return Message(
            version=walk.version,
            session_id=None,
            transactions=(Transaction(id=None, mode=mode, primitive=obeyed),),
        )

    return read
