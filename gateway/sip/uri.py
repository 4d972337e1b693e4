"""SIP addresses: URIs and the name-addr around them.

RFC 3261 19.1 (SIP and SIPS URIs), 20.10 (name-addr and addr-spec), 25.1 (grammar);
RFC 3966 (tel), RFC 3860 and 3859 (im, pres).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.errors import Malformed
from gateway.sip.headers import HOST, format_params, parse_params, quote, unquote

_FORBIDDEN = re.compile(r'[\x00-\x20<>"\x7f]')
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_HOSTPORT = re.compile(rf"({HOST})(?::([0-9]{{1,5}}))?\Z")
_WITH_HOST = frozenset({"sip", "sips", "im", "pres"})


@dataclass(slots=True)
class Uri:
    """A URI as SIP uses it, split and not decoded: ``str()`` gives it back.

    ``sip``, ``sips``, ``im`` and ``pres`` have user and host; ``tel`` has its number
    in ``user``; of any other scheme the rest stands in ``opaque``. Percent escapes stay
    as sent, because ``%3B`` and ``;`` are not the same user (RFC 3261 19.1.4).
    """

    scheme: str
    user: str | None = None
    host: str = ""
    port: int | None = None
    params: dict[str, str | None] = field(default_factory=dict)
    headers: str = ""
    password: str | None = None
    opaque: str = ""

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read an addr-spec without ``<>``. Raises Malformed."""
        scheme, colon, rest = text.partition(":")
        if not colon or not rest or _SCHEME.match(scheme) is None:
            raise Malformed("a URI needs a scheme and something behind it")
        if _FORBIDDEN.search(rest) is not None:
            raise Malformed("a URI holds blanks, quotes or angle brackets")
        scheme = scheme.lower()
        if scheme == "tel":
            number, semicolon, params = rest.partition(";")
            return cls(scheme, number, params=parse_params(semicolon + params))
        if scheme not in _WITH_HOST:
            return cls(scheme, opaque=rest)
        # The last @ ends the user part, which may hold ; and ? but no @; neither
        # parameters nor headers may hold one (RFC 3261 25.1).
        info, at, rest = rest.rpartition("@")
        user: str | None = None
        password: str | None = None
        if at:
            user, colon, word = info.partition(":")
            password = word if colon else None
            if not user or "@" in info:
                raise Malformed("the user part of a SIP URI is empty or holds an @")
        rest, _, headers = rest.partition("?")
        hostport, semicolon, params = rest.partition(";")
        match = _HOSTPORT.match(hostport)
        if match is None:
            raise Malformed("the host of a SIP URI is none")
        port = int(match[2]) if match[2] else None
        if port is not None and not 0 < port < 65536:
            raise Malformed("the port of a SIP URI is none")
        read = parse_params(semicolon + params) if semicolon else {}
        return cls(scheme, user, match[1], port, read, headers, password)

    def __str__(self) -> str:
        if self.scheme not in _WITH_HOST:
            rest = self.opaque or self.user or ""
            return f"{self.scheme}:{rest}{format_params(self.params)}"
        info = ""
        if self.user is not None:
            word = "" if self.password is None else f":{self.password}"
            info = f"{self.user}{word}@"
        port = "" if self.port is None else f":{self.port}"
        headers = f"?{self.headers}" if self.headers else ""
        return (
            f"{self.scheme}:{info}{self.host}{port}"
            f"{format_params(self.params)}{headers}"
        )

    @property
    def aor(self) -> str:
        """The address without port, password, parameters and headers."""
        if self.scheme not in _WITH_HOST:
            return f"{self.scheme}:{self.opaque or self.user or ''}"
        user = "" if self.user is None else f"{self.user}@"
        return f"{self.scheme}:{user}{self.host.lower()}"


# The form nearly every From, To and Contact has; what it does not match goes the
# long way.
_PLAIN = re.compile(
    r'(?:"([^"\\]*+)"[ \t]*+|([A-Za-z0-9.!%*_+`\'~ -]*+))<([^<>"\s]+)>(;[^"]*)?\Z'
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*', re.DOTALL)


@dataclass(slots=True)
class NameAddr:
    """A name-addr or addr-spec with the parameters of its header field."""

    uri: Uri
    display: str = ""
    params: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read one value, not a comma list. Raises Malformed.

        Without ``<>`` every parameter belongs to the header field, and a URI with a
        question mark or comma is refused (RFC 3261 20).
        """
        display, uri, params = split_name_addr(text)
        return cls(Uri.parse(uri), display, parse_params(params) if params else {})

    @property
    def tag(self) -> str | None:
        """The tag parameter of From and To (RFC 3261 19.3)."""
        return self.params.get("tag")

    def param(self, name: str) -> str | None:
        """Return a parameter's value without the quotes of a quoted-string."""
        value = self.params.get(name)
        return None if value is None else unquote(value)

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{format_params(self.params)}"


def split_name_addr(text: str) -> tuple[str, str, str]:
    """Split a name-addr into display name, URI text and parameter text.

    Raises Malformed. The URI and the parameters are not looked into.
    """
    match = _PLAIN.match(text)
    if match is not None:
        return match[1] or (match[2] or "").strip(), match[3], match[4] or ""
    text = text.strip()
    display = ""
    if text.startswith('"'):
        match = _QUOTED.match(text)
        if match is None:
            raise Malformed("the display name's quotes are not closed")
        display = unquote(f'"{match[1]}"')
        text = text[match.end() :]
        if not text.startswith("<"):
            raise Malformed("a display name needs <> around its URI")
    before, opening, rest = text.partition("<")
    if not opening:
        uri, semicolon, params = text.partition(";")
        if "?" in uri or "," in uri:
            raise Malformed("a URI with ? or , needs <> around it")
        return "", uri.strip(), semicolon + params
    if '"' in before:
        raise Malformed("quotes in the middle of a display name")
    uri, closing, params = rest.partition(">")
    params = params.strip()
    if not closing or (params and params[0] != ";"):
        raise Malformed("the <> around a URI are not closed or something follows")
    return display or before.strip(), uri.strip(), params
