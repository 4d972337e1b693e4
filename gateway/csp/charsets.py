"""Character sets of message bodies: which are taken, and how to get to Unicode.

Handsets of this protocol's years send more than UTF-8. Only true character sets are
taken: Python's codecs also know transformations that cost quadratic time.
"""

from __future__ import annotations

import codecs
import re

from gateway.errors import Malformed, UnsupportedMedia

_TAKEN = frozenset(
    "ascii utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be"
    " koi8-r koi8-u gb2312 gbk gb18030 big5 big5hkscs hz shift_jis cp932 euc_jp euc_kr"
    " iso2022_jp iso2022_kr cp949 mac-roman tis-620".split()
)
_FAMILIES = re.compile(r"(?:iso8859-[0-9]+|cp(?:12[0-9]{2}|437|8[0-9]{2}))\Z")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(
    rb"\s*<\?xml[^>]{0,200}?\bencoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']"
)
_USUAL = (
    b"<WV",
    b'<?xml version="1.0" encoding="UTF-8"?>',
    b'<?xml version="1.0" encoding="utf-8"?>',
    b'<?xml version="1.0"?>',
)
_AS_IT_IS = frozenset(("utf-8", "ascii"))


def canonical(charset: str) -> str:
    """Python's name of a character set. Raises UnsupportedMedia if it is not taken."""
    try:
        name = codecs.lookup(charset.strip().strip('"')).name
    except (LookupError, ValueError):
        name = ""
    if name not in _TAKEN and not _FAMILIES.match(name):
        raise UnsupportedMedia(f"unknown character set {charset[:40]!r}")
    return name


def to_utf8(body: bytes, charset: str | None) -> bytes:
    """The XML document ``body`` in UTF-8, whatever it came in.

    ``charset`` (that of the transport) goes before a byte order mark, that before the
    XML declaration, that before UTF-8 (RFC 7303 3). Its declaration is left as it was.
    Raises UnsupportedMedia, and Malformed when the bytes are not of the character set.
    """
    name = _charset(body, charset)
    if name in _AS_IT_IS:
        return body  # the parser checks it
    try:
        return body.decode(name).encode()
    except UnicodeError:
        raise Malformed(f"the text is not {name}") from None


def _charset(body: bytes, charset: str | None) -> str:
    if charset is None and body.startswith(_USUAL):
        return "utf-8"
    if charset is not None and charset.lower() == "utf-8":
        return "utf-8"
    if charset:
        return canonical(charset)
    for mark, name in _BOMS:
        if body.startswith(mark):
            return name
    if body.startswith(b"<\x00"):
        return "utf-16-le"
    if body.startswith(b"\x00<"):
        return "utf-16-be"
    declared = _DECLARED.match(body)
    return canonical(declared[1].decode("ascii")) if declared else "utf-8"
