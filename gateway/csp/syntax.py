"""Which syntax a media type stands for (CSP transport binding 1.3, content types).

A new syntax is one line in ``_SYNTAXES``.
"""

from __future__ import annotations

import functools
import re
from typing import Protocol

from gateway.csp import xmlsyntax
from gateway.csp.envelope import Message
from gateway.csp.schema import Version
from gateway.errors import UnsupportedMedia


class Syntax(Protocol):
    """One way to write messages."""

    def decode(self, body: bytes, charset: str | None = None) -> Message:
        """Read a message; see `gateway.csp.xmlsyntax.decode`."""

    def encode(self, message: Message, charset: str = "utf-8") -> bytes:
        """Write a message; see `gateway.csp.xmlsyntax.encode`."""

    def content_type(self, version: Version) -> str:
        """The media type of messages of ``version``."""


class XmlSyntax:
    """Messages as XML."""

    decode = staticmethod(xmlsyntax.decode)
    encode = staticmethod(xmlsyntax.encode)

    @staticmethod
    def content_type(version: Version) -> str:
        """1.3 writes its media type with a plus sign, older versions with a dot."""
        if version >= Version.V1_3:
            return "application/vnd.wv.csp+xml"
        return "application/vnd.wv.csp.xml"


XML: Syntax = XmlSyntax()

# Either spelling is taken for any version: the namespace decides.
_SYNTAXES: dict[str, Syntax] = {
    "application/vnd.wv.csp.xml": XML,
    "application/vnd.wv.csp+xml": XML,
}
_CHARSET = re.compile(r";\s*charset\s*=\s*(?:\"([^\"]*)\"|([^\s;\"]+))", re.IGNORECASE)


@functools.lru_cache(maxsize=64)
def syntax_for(content_type: str) -> tuple[Syntax, str | None]:
    """The syntax of a Content-Type header and its charset parameter, if there is one.

    Raises UnsupportedMedia when no syntax here has that media type.
    """
    media_type, _, parameters = content_type.partition(";")
    syntax = _SYNTAXES.get(media_type.strip().lower())
    if syntax is None:
        raise UnsupportedMedia(f"no CSP syntax: {media_type.strip()[:80]!r}")
    charset = _CHARSET.search(";" + parameters)
    return syntax, (charset[1] or charset[2] or None) if charset else None
