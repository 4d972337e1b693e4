"""CSP messages as XML (CSP XML syntax 1.1 to 1.3).

`decode` is lenient in what the reference tells of real clients and strict in what could
hurt: entities, internal DTD subsets, depth and counts are bounded before or by the
parser, nothing is ever fetched. `encode` is strict: what the version knows, by its
names, in its order and namespaces.

Handsets send the same markup again and again with other texts in it. So the reading of
a plain document (elements and text, nothing else) is remembered by its markup: the next
one of that markup is split at its texts and read, without parsing it again. Whatever is
not plain is parsed each time, by the same code.
"""

from __future__ import annotations

import re

from lxml import etree

from gateway.csp.charsets import to_utf8
from gateway.csp.envelope import Message
from gateway.csp.xmlenvelope import message
from gateway.csp.xmlreader import PARSER, Node, Reading, Unshared
from gateway.csp.xmlwriter import write
from gateway.errors import Malformed, TooLarge

__all__ = ["decode", "encode"]

MAX_DEPTH = 32
MAX_ELEMENTS = 20_000

# What follows the external identifier must be the end: no declarations of its own.
_DOCTYPE = re.compile(
    rb"<!DOCTYPE(?:[^\[<>\"']++|\"[^\"]*+\"|'[^']*+')*+(.?)", re.DOTALL
)
_TOO_DEEP = etree.XPath("boolean(" + "/*" * (MAX_DEPTH + 1) + ")")

# The reading of plain documents, by markup. The oldest goes when there are too many.
_MAX_MARKUP = 8_192
_MAX_READINGS = 512
_MAX_REFERENCES = 200
_READINGS: dict[str, Reading] = {}
_DECLARATION = re.compile(r'<\?xml version="1\.0"(?: encoding="[Uu][Tt][Ff]-8")? ?\?>')
_BLANKS = " \t\r\n"
_TEXT = re.compile(r">([^<]+)")
# Plain markup is tags with plain attributes, so that each ">" ends a tag.
_PLAIN = re.compile(
    r"(?:</?[A-Za-z_][A-Za-z0-9_.:-]*"
    r"(?:[ \n]+[A-Za-z_][A-Za-z0-9_.:-]*=(?:\"[^\"<>&]*\"|'[^'<>&]*'))*[ \n]*/?>)+"
)
# What keeps text from being plain: CR (a parser makes it LF), characters that XML 1.0
# 2.2 forbids, the end of a CDATA section.
_NOT_PLAIN = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|]]>")
_REFERENCE = re.compile(
    "&(?:(lt|gt|amp|quot|apos)|#([0-9]{1,6})|#x([0-9A-Fa-f]{1,5}));"
)
_NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}

encode = write


def decode(body: bytes, charset: str | None = None) -> Message:
    """Read one message.

    ``charset`` is that of the transport and overrides the declaration in the document.
    Raises Malformed when the bytes are not CSP in XML, TooLarge when they pass a limit,
    UnsupportedMedia when nobody knows the character set. A primitive that is
    well-formed and wrong comes as `Faulty`.
    """
    document = to_utf8(body, charset)
    return _read_plain(document) or _read(document)


def _read(document: bytes) -> Message:
    """Read a UTF-8 document of any kind."""
    reading, texts = message(_parse(document), numbered=False)
    return reading(texts)  # type: ignore[no-any-return]


def _read_plain(document: bytes) -> Message | None:
    """Read a plain document by the reading of its markup; None if it is not plain."""
    try:
        text = document.decode()
    except UnicodeDecodeError:
        raise Malformed("the text is not UTF-8") from None
    if text.startswith("<?"):
        declaration = _DECLARATION.match(text)
        if declaration is None:
            return None
        text = text[declaration.end() :].strip(_BLANKS)
    elif not text.endswith(">"):
        text = text.rstrip(_BLANKS)
    if (not text.isprintable() or "]]>" in text) and _NOT_PLAIN.search(text):
        return None
    parts = _TEXT.split(text)
    markup = "\0".join(parts[::2])
    reading = _READINGS.get(markup)
    if reading is None:
        reading = _learn(parts, markup)
        if reading is None:
            return None
    texts = parts[1::2]
    if "&" in text:
        if text.count("&") > _MAX_REFERENCES:
            return None  # the parser is faster
        try:
            texts = [_resolve(part) if "&" in part else part for part in texts]
        except ValueError:
            return None
    texts.append("")  # what the place -1 means
    return reading(texts)  # type: ignore[no-any-return]


def _resolve(text: str) -> str:
    """``text`` with its references resolved; ValueError if one is unusual."""
    if text.count("&") != len(_REFERENCE.findall(text)):
        raise ValueError("not a reference")
    return _REFERENCE.sub(_referred, text)


def _referred(found: re.Match[str]) -> str:
    name, decimal, hexadecimal = found.groups()
    if name is not None:
        return _NAMED[name]
    character = chr(int(decimal) if decimal else int(hexadecimal, 16))
    if (
        character < " "
        and character not in "\t\n\r"
        or "\ud800" <= character <= "\udfff"
    ):
        raise ValueError("no character of XML")
    if character in "\ufffe\uffff":
        raise ValueError("no character of XML")
    return character


def _learn(parts: list[str], markup: str) -> Reading | None:
    """Make the reading of a markup, and remember it; None if it cannot be shared.

    The parser gets the markup with the places of the texts instead of the texts: so it
    tells which element has which.
    """
    if len(markup) > _MAX_MARKUP or not _PLAIN.fullmatch(">".join(parts[::2])):
        return None
    numbered = parts[:]
    numbered[1::2] = map(str, range(len(parts) // 2))
    # The pattern takes the ">" before a text with it.
    document = "".join(
        f">{part}" if place % 2 else part for place, part in enumerate(numbered)
    )
    try:
        reading, _ = message(_parse(document.encode()), numbered=True)
    except Unshared:
        return None
    while len(_READINGS) >= _MAX_READINGS:
        _READINGS.pop(next(iter(_READINGS)), None)
    _READINGS[markup] = reading
    return reading


def _parse(document: bytes) -> Node:
    """The root element of a UTF-8 document that keeps the limits."""
    starts = document.count(b"<")
    if starts > MAX_ELEMENTS:
        # An upper bound; end tags, comments and the declaration are not elements.
        starts -= document.count(b"</") + document.count(b"<!") + document.count(b"<?")
        if starts > MAX_ELEMENTS:
            raise TooLarge("too many elements")
    typed = b"<!DOCTYPE" in document
    if typed and any(end[1] != b">" for end in _DOCTYPE.finditer(document)):
        raise Malformed("the document type has declarations of its own")
    try:
        root = etree.fromstring(document, PARSER)
    except etree.XMLSyntaxError as error:
        line = error.position[0] if error.position else 0
        raise Malformed(f"not well-formed XML, line {line}") from None
    if _TOO_DEEP(root):
        raise TooLarge("too deeply nested")
    # Without declarations only undeclared entities are left to refer to.
    if typed and next(root.iter(etree.Entity), None) is not None:
        raise Malformed("reference to an entity")
    return root
