"""Parsed XML to primitives, in one walk over the tree.

Lenient as the reference demands of receivers: children in any order, unknown children
ignored, known misspellings of names understood, any namespace. What a structure expects
comes from its description; nothing here knows a primitive by name, except the search
conditions that 1.3 packs into one element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from lxml import etree

from gateway.csp.catalogue import ALIASES
from gateway.csp.namespaces import is_ours
from gateway.csp.schema import Field, Kind, Structure, Version, describe
from gateway.csp.searching import SearchPairList, SearchRequest
from gateway.csp.values import READERS

Node = Any  # an lxml element; the stubs know less of it than we use
_NOTHING: tuple[object, ...] = ()
_PAIR = "SearchPair"
_EXT_BLOCK = "ExtBlock"


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


class Fault(Exception):
    """A primitive is well-formed and wrong: the CSP status and the words to answer."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class _Nested(Protocol):
    def __call__(self, node: Node, version: Version, extensions: list[Node]) -> Any: ...


# Index of the field, reader of a whole element, reader of its text (neither: the text
# without blanks around it), whether there may be several.
_Slot = tuple[int, _Nested | None, Callable[[str], Any] | None, bool]


class Reader:
    """Reads the elements of one structure."""

    __slots__ = ("_by_name", "_defaults", "_described", "_required", "_slots", "_text")

    def __init__(self, cls: type[Structure]) -> None:
        self._described = describe(cls)
        fields = self._described.fields
        self._defaults = [field.default for field in fields]
        self._by_name: dict[str, _Slot] | None = None
        # By tag as it came, namespace and all; filled as tags are met.
        self._slots: dict[str, _Slot] = {}
        self._required = {
            version: tuple(
                index
                for index, field in enumerate(fields)
                if version in field.mandatory and not field.element.lenient
            )
            for version in Version
        }
        text = self._described.text_field
        self._text = None if text is None else fields.index(text)

    def __call__(self, node: Node, version: Version, extensions: list[Node]) -> Any:
        """Read one element.

        ``extensions`` collects the ExtBlock elements that are met on the way: Symbian
        puts them into the primitive. Raises `Fault`.
        """
        values = self._defaults.copy()
        find = self._slots.get
        lists: list[int] = []
        for child in node:
            slot = find(child.tag)
            if slot is None:
                slot = self._meet(child, extensions)
                if slot is None:
                    continue
            index, nested, read, repeated = slot
            if nested is not None:
                value = nested(child, version, extensions)
            else:
                text = child.text or ""
                value = text.strip() if read is None else read(text)
                if value is None:
                    continue
            if not repeated:
                values[index] = value
            elif values[index]:
                values[index].append(value)  # type: ignore[attr-defined]
            else:
                values[index] = [value]
                lists.append(index)
        for index in lists:
            values[index] = tuple(values[index])  # type: ignore[arg-type]
        if self._text is not None and values[self._text] is None:
            values[self._text] = (node.text or "").strip() or None
        for index in self._required[version]:
            value = values[index]
            if value is None or value is _NOTHING:
                self._lacking(index)
        return self._described.build(values)

    def _lacking(self, index: int) -> NoReturn:
        name = self._described.fields[index].element.name
        raise Fault(400, f"{self._described.cls.NAME} without {name}")

    def _meet(self, child: Node, extensions: list[Node]) -> _Slot | None:
        """The slot of a tag that was not met before; None where it is unknown."""
        if self._by_name is None:
            self._by_name = {
                field.element.name: _slot(index, field)
                for index, field in enumerate(self._described.fields)
            }
        namespace, name = split(child.tag)
        slot = self._by_name.get(name) or self._by_name.get(ALIASES.get(name, ""))
        if slot is None:
            if name == _EXT_BLOCK:
                extensions.append(child)
        elif not namespace or is_ours(namespace):
            # Only tags of our own are remembered: the table cannot grow for ever.
            self._slots[child.tag] = slot
        return slot


class _ForeignReader:
    """Reads a structure that is all foreign content, such as Extended-Request."""

    def __init__(self, cls: type[Structure]) -> None:
        self._described = describe(cls)

    def __call__(self, node: Node, version: Version, extensions: list[Node]) -> Any:
        return self._described.build([foreign(node)])


class _SearchReader(Reader):
    """Reads a Search-Request; one condition an element, however they were packed.

    1.3 repeats SearchElement, SearchString and PairID in one SearchPairList, some
    within SearchPair; up to 1.2 an element holds one condition.
    """

    __slots__ = ()

    def __call__(self, node: Node, version: Version, extensions: list[Node]) -> Any:
        for packed in node:
            if split(packed.tag)[1] == SearchPairList.NAME:
                _unpack(packed)
        return super().__call__(node, version, extensions)


def _unpack(packed: Node) -> None:
    """Put all conditions but the first into elements of their own, in order."""
    parts: list[Node] = []
    for child in packed:
        parts.extend(child if split(child.tag)[1] == _PAIR else (child,))
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


_READERS: dict[type[Structure], _Nested] = {SearchRequest: _SearchReader(SearchRequest)}


def reader(cls: type[Structure]) -> _Nested:
    """The reader of the elements of one structure."""
    made = _READERS.get(cls)
    if made is None:
        fields = describe(cls).fields
        all_foreign = len(fields) == 1 and not fields[0].element.name
        made = _READERS[cls] = _ForeignReader(cls) if all_foreign else Reader(cls)
    return made


def split(tag: str) -> tuple[str, str]:
    """The namespace (empty if there is none) and the local name of a tag."""
    if tag.startswith("{"):
        namespace, _, name = tag[1:].partition("}")
        return namespace, name
    return "", tag


def foreign(node: Node) -> str:
    """The content of an element as XML text that declares the namespaces it uses."""
    parts = [(node.text or "").replace("&", "&amp;").replace("<", "&lt;")]
    parts.extend(etree.tostring(child, encoding="unicode") for child in node)
    return "".join(parts)


def checked(content: str) -> str:
    """``content`` itself, if it is well-formed XML content; else ValueError."""
    try:
        etree.fromstring(f"<x>{content}</x>".encode(), PARSER)
    except etree.XMLSyntaxError:
        raise ValueError("foreign content that is not XML") from None
    return content


def _slot(index: int, field: Field) -> _Slot:
    if field.structure is not None:
        return index, reader(field.structure), None, field.repeated
    if field.kind is Kind.FOREIGN:
        return index, _foreign, None, field.repeated
    if field.kind is Kind.FLAG:
        return index, None, _present, False
    if field.kind is not Kind.TEXT:
        return index, None, _typed(field), field.repeated
    return index, None, str if field.element.verbatim else None, field.repeated


def _foreign(node: Node, version: Version, extensions: list[Node]) -> str:
    return foreign(node)


def _typed(field: Field) -> Callable[[str], Any]:
    read = READERS[field.kind]
    name = field.element.name

    def read_or_fault(text: str) -> Any:
        try:
            return read(text)
        except ValueError as fault:
            if not text.strip():
                return None  # samples of 1.1 have an empty InUse: as if left out
            raise Fault(402, f"{name}: {fault}") from None

    return read_or_fault


def _present(text: str) -> bool:
    """A flag says all by being there."""
    return True
