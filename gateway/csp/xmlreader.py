"""Parsed XML to the reading of its texts, in one walk over the tree.

The markup of a document decides which primitive it is and where each of its texts goes;
so the walk makes a *reading*: a function from the texts to the structure. A reading
serves every document of the same markup (see `gateway.csp.xmlsyntax`).

Lenient as the reference demands of receivers: children in any order, unknown children
ignored, known misspellings of names understood, any namespace. What a structure expects
comes from its description; nothing here knows a primitive by name, except the search
conditions that 1.3 packs into one element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lxml import etree

from gateway.csp.catalogue import ALIASES
from gateway.csp.schema import Field, Kind, Structure, Version, describe
from gateway.csp.searching import SearchPairList, SearchRequest
from gateway.csp.values import READERS
from gateway.errors import TooLarge

Node = Any  # an lxml element; the stubs know less of it than we use
Texts = Sequence[str]
Reading = Callable[[Texts], Any]

PARSER = etree.XMLParser(
    encoding="utf-8",
    resolve_entities=False,
    load_dtd=False,
    no_network=True,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
    strip_cdata=True,
)
"""The only parser there is: nothing is fetched, nothing is expanded."""

_PAIR = "SearchPair"
_MAX_CONDITION_PARTS = 300
_EXT_BLOCK = "ExtBlock"


class Fault(Exception):
    """A primitive is well-formed and wrong: the CSP status and the words to answer."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class Unshared(Exception):
    """The reading depends on more than markup: foreign content is kept as it is."""


class Walk:
    """One walk over a tree: its version, its texts, and what is met by the way.

    With ``numbered``, the tree has numbers for texts (the places of the real ones, of
    which the last is empty), and `Unshared` is raised at foreign content. Without, the
    texts are collected in ``texts``.
    """

    __slots__ = ("blocks", "numbered", "texts", "version")

    def __init__(self, version: Version, *, numbered: bool) -> None:
        self.version = version
        self.numbered = numbered
        self.texts: list[str] = []
        self.blocks: list[str] = []

    def place(self, node: Node) -> int:
        """The place of the text of an element among the texts."""
        text = node.text
        if self.numbered:
            return int(text) if text else -1
        self.texts.append(text or "")
        return len(self.texts) - 1

    def foreign(self, node: Node) -> str:
        """The content of an element as XML text that declares what it uses."""
        if self.numbered:
            raise Unshared
        parts = [(node.text or "").replace("&", "&amp;").replace("<", "&lt;")]
        parts.extend(etree.tostring(child, encoding="unicode") for child in node)
        return "".join(parts)

    def block(self, node: Node) -> None:
        """Keep the content of an ExtBlock."""
        self.blocks.append(self.foreign(node))


def split(tag: str) -> tuple[str, str]:
    """The namespace (empty if there is none) and the local name of a tag."""
    if tag.startswith("{"):
        namespace, _, name = tag[1:].partition("}")
        return namespace, name
    return "", tag


def local(tag: str) -> str:
    """The local name of a tag."""
    return tag[tag.rfind("}") + 1 :]


def structure(cls: type[Structure], node: Node, walk: Walk) -> Reading:
    """The reading of one element as ``cls``.

    Collects ExtBlock elements by the way: Symbian puts them into the primitive. The
    reading raises `Fault`. Raises TooLarge for too many search conditions.
    """
    described = describe(cls)
    if cls is SearchRequest:
        _unpack_all(node)
    tokens: dict[int, int] = {}
    singles: dict[int, Reading] = {}
    several: dict[int, list[Reading]] = {}
    lists: dict[int, list[int]] = {}
    by_name = described.by_name.get
    for child in node:
        name = local(child.tag)
        field = by_name(name) or by_name(ALIASES.get(name, ""))
        if field is None:
            if name == _EXT_BLOCK:
                walk.block(child)
            continue
        if field.kind is Kind.TEXT and not field.verbatim:
            if field.repeated:
                lists.setdefault(field.index, []).append(walk.place(child))
            else:
                tokens[field.index] = walk.place(child)
        elif field.repeated:
            several.setdefault(field.index, []).append(_field(field, child, walk))
        else:
            singles[field.index] = _field(field, child, walk)
    own = described.text_field
    if own is not None and own.index not in tokens:
        singles[own.index] = _own_text(walk.place(node))
    if not described.fields or described.fields[0].element.name:
        return _assemble(cls, walk.version, tokens, lists, singles, several)
    content = walk.foreign(node)
    return lambda texts: described.build([content])


def _assemble(
    cls: type[Structure],
    version: Version,
    tokens: dict[int, int],
    lists: dict[int, list[int]],
    singles: dict[int, Reading],
    several: dict[int, list[Reading]],
) -> Reading:
    """The reading of a structure from what its fields are read from.

    ``tokens`` and ``lists`` (places of texts without blanks around them) are nearly
    all; a call for each would cost more than the rest.
    """
    described = describe(cls)
    thaw = described.thawed
    defaults = [field.default for field in described.fields]
    checked = []
    for field in described.demanded(version):
        lacking = f"{cls.NAME} without {field.element.name}"
        index = field.index
        if not (
            index in tokens or index in singles or index in several or index in lists
        ):
            return _refuse(400, lacking)
        # An empty number, boolean or time counts as left out.
        if field.kind in READERS and not field.repeated:
            checked.append((index, lacking))
    plain = tuple(tokens.items())
    one = tuple(singles.items())
    words = tuple((index, tuple(places)) for index, places in lists.items())
    many = tuple((index, tuple(readings)) for index, readings in several.items())

    def read(texts: Texts) -> Any:
        values = defaults[:]
        for index, place in plain:
            values[index] = texts[place].strip()
        for index, places in words:
            values[index] = tuple([texts[place].strip() for place in places])
        for index, reading in one:
            values[index] = reading(texts)
        for index, readings in many:
            found = [reading(texts) for reading in readings]
            values[index] = tuple([value for value in found if value is not None])
        for index, lacking in checked:
            if values[index] is None:
                raise Fault(400, lacking)
        made = thaw(*values)
        made.__class__ = cls
        return made

    return read


def _field(field: Field, node: Node, walk: Walk) -> Reading:
    """The reading of one field from its element."""
    if field.structure is not None:
        return structure(field.structure, node, walk)
    if field.kind is Kind.FOREIGN:
        content = walk.foreign(node)
        return lambda texts: content
    if field.kind is Kind.FLAG:
        return lambda texts: True
    place = walk.place(node)
    if field.kind is not Kind.TEXT:
        return _typed(field, place)
    return lambda texts: texts[place]


def _typed(field: Field, place: int) -> Reading:
    read = READERS[field.kind]
    name = field.element.name

    def read_or_fault(texts: Texts) -> Any:
        text = texts[place]
        try:
            return read(text)
        except ValueError as fault:
            if not text.strip():
                return None  # samples of 1.1 have an empty InUse: as if left out
            raise Fault(402, f"{name}: {fault}") from None

    return read_or_fault


def _own_text(place: int) -> Reading:
    """The reading of the text of a structure that up to 1.2 was no structure."""
    return lambda texts: texts[place].strip() or None


def _refuse(code: int, description: str) -> Reading:
    """A reading that finds fault, whatever the texts."""

    def refuse(texts: Texts) -> NoReturn:
        raise Fault(code, description)

    return refuse


def _unpack_all(node: Node) -> None:
    """Make one search condition an element, however they were packed.

    1.3 repeats SearchElement, SearchString and PairID in one SearchPairList, some
    within SearchPair; up to 1.2 an element holds one condition.
    """
    for packed in node:
        if local(packed.tag) == SearchPairList.NAME:
            _unpack(packed)


def _unpack(packed: Node) -> None:
    """Put all conditions but the first into elements of their own, in order."""
    parts: list[Node] = []
    for child in packed:
        parts.extend(child if local(child.tag) == _PAIR else (child,))
    if len(parts) > _MAX_CONDITION_PARTS:
        raise TooLarge("too many search conditions")
    met: set[str] = set()
    condition = packed
    packed[:] = []
    for part in parts:
        if part.tag in met:
            following = packed.makeelement(packed.tag)
            condition.addnext(following)
            condition = following
            met.clear()
        met.add(part.tag)
        condition.append(part)


def checked(content: str) -> str:
    """``content`` itself, if it is well-formed XML content; else ValueError."""
    try:
        etree.fromstring(f"<x>{content}</x>".encode(), PARSER)
    except etree.XMLSyntaxError:
        raise ValueError("foreign content that is not XML") from None
    return content
