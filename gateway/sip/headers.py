"""SIP header fields: an ordered multi-map and the values that routing needs.

RFC 3261 7.3 (fields, compact forms), 20 (the fields), 25.1 (grammar), 20.42 (Via).
Values are kept as the text that came and are read on demand: most fields of most
messages are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.errors import Malformed

TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+\Z")
_COMPACT = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
_ODD_CASE = (
    "Call-ID CSeq WWW-Authenticate MIME-Version RSeq RAck SIP-ETag SIP-If-Match "
    "P-Visited-Network-ID P-Charging-Vector P-DCS-Trace-Party-ID"
).split()
_USUAL = (
    "Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow "
    "Allow-Events Authentication-Info Authorization Call-Info Contact "
    "Content-Disposition Content-Encoding Content-Language Content-Length "
    "Content-Type Date Error-Info Event Expires From History-Info Identity "
    "Identity-Info In-Reply-To Join Max-Forwards Min-Expires Min-SE Organization "
    "P-Access-Network-Info P-Asserted-Identity P-Asserted-Service "
    "P-Associated-URI P-Called-Party-ID P-Charging-Function-Addresses "
    "P-Preferred-Identity P-Preferred-Service Path Priority Privacy "
    "Proxy-Authenticate Proxy-Authorization Proxy-Require Reason Record-Route "
    "Refer-To Referred-By Reject-Contact Replaces Reply-To Request-Disposition "
    "Require Retry-After Route Server Service-Route Session-Expires Subject "
    "Subscription-State Supported Timestamp To Unsupported User-Agent Via Warning"
).split()
# As sent -> canonical. Filled once with the spellings that occur; a hostile peer
# cannot make it grow.
NAMES: dict[str, str] = {}
for _name in (*_ODD_CASE, *_USUAL):
    for _spelling in (_name, _name.lower(), _name.upper()):
        NAMES[_spelling] = _name
for _short, _name in _COMPACT.items():
    NAMES[_short] = NAMES[_short.upper()] = _name

# Fields whose value may hold commas that separate nothing (RFC 3261 7.3.1, 20).
_WHOLE = frozenset(
    "Authorization WWW-Authenticate Proxy-Authorization Proxy-Authenticate Date "
    "Subject Call-ID User-Agent Server Organization Retry-After From To "
    "Authentication-Info Timestamp Identity".split()
)


def canonical(name: str) -> str:
    """Give the usual spelling of a field name, compact forms written out.

    Raises ValueError when the name is no token (RFC 3261 25.1 header-name).
    """
    known = NAMES.get(name)
    if known is not None:
        return known
    if TOKEN.match(name) is None:
        raise ValueError(f"not a header field name: {name[:40]!r}")
    known = NAMES.get(name.lower())
    if known is not None:
        return known
    return "-".join(part.capitalize() for part in name.split("-"))


# One value is kept as itself: nearly all fields have one.
Fields = dict[str, str | tuple[str, ...]]


class Headers:
    """The fields of one message: several values a name, names in any spelling.

    The order of the values of one name is kept; between names the order of first
    appearance is (RFC 3261 7.3.1 gives no meaning to it).
    """

    __slots__ = ("fields",)

    def __init__(self, fields: Fields | None = None) -> None:
        """Take over a dictionary with canonical names, else begin empty."""
        self.fields: Fields = {} if fields is None else fields

    @classmethod
    def of(cls, items: Iterable[tuple[str, str]]) -> Headers:
        """Make headers of (name, value) pairs, names in any spelling."""
        headers = cls()
        for name, value in items:
            headers.add(name, value)
        return headers

    def get(self, name: str) -> str | None:
        """Return the first value of a field, or None."""
        value = self.fields.get(name)
        if value is None:
            value = self.fields.get(canonical(name))
            if value is None:
                return None
        return value if isinstance(value, str) else value[0]

    def all(self, name: str) -> list[str]:
        """Return every value of a field as it came, comma lists not split."""
        value = self.fields.get(canonical(name), ())
        return [value] if isinstance(value, str) else list(value)

    def values(self, name: str) -> list[str]:
        """Return every value of a field, comma lists split (RFC 3261 7.3.1).

        Commas in quoted strings, comments and ``<>`` do not split, nor do those of
        fields that are no lists, such as Date or the credentials. Raises Malformed
        for an unclosed quoted string.
        """
        values = self.all(name)
        if canonical(name) in _WHOLE:
            return values
        return [part for value in values for part in split_list(value)]

    def add(self, name: str, value: str) -> None:
        """Append a value behind those that the field has."""
        self.set_all(name, (*self.all(name), value))

    def prepend(self, name: str, value: str) -> None:
        """Put a value before those that the field has (Via, Route, Record-Route)."""
        self.set_all(name, (value, *self.all(name)))

    def set(self, name: str, value: str) -> None:
        """Give the field this one value."""
        self.fields[canonical(name)] = value

    def set_all(self, name: str, values: Iterable[str]) -> None:
        """Give the field these values; none removes it."""
        name, kept = canonical(name), tuple(values)
        if len(kept) == 1:
            self.fields[name] = kept[0]
        elif kept:
            self.fields[name] = kept
        else:
            self.fields.pop(name, None)

    def remove(self, name: str) -> None:
        """Drop a field with all its values; an absent one is no error."""
        self.fields.pop(canonical(name), None)

    def items(self) -> Iterator[tuple[str, str]]:
        """Walk over every (canonical name, value)."""
        for name, value in self.fields.items():
            if isinstance(value, str):
                yield name, value
            else:
                for single in value:
                    yield name, single

    def copy(self) -> Headers:
        """Make an independent copy; cheap, since values are immutable."""
        return Headers(self.fields.copy())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and canonical(name) in self.fields

    def __len__(self) -> int:
        return sum(1 for _ in self.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self.fields == other.fields

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # Names only: values hold credentials and message subjects.
        return f"<Headers {' '.join(self.fields)}>"


_PIECE = re.compile(
    r'"(?:[^"\\]|\\.)*"|<[^<>"]*>|\([^()"]*\)|[^,"<(]+|[,"<(]', re.DOTALL
)


def split_list(value: str) -> list[str]:
    """Split a comma list outside of quoted strings, comments and ``<>``.

    Empty members are dropped. Raises Malformed for an unclosed quoted string.
    """
    if "," not in value:
        return [value] if value else []
    if '"' not in value and "<" not in value and "(" not in value:
        return [part for raw in value.split(",") if (part := raw.strip())]
    parts, current = [], ""
    for piece in _PIECE.findall(value):
        if piece == ",":
            parts.append(current.strip())
            current = ""
        elif piece == '"':
            raise Malformed("a quoted string is not closed")
        else:
            current += piece
    parts.append(current.strip())
    return [part for part in parts if part]


_PARAM = re.compile(
    r"\s*+;\s*+([^\s;=\"<>,]++)\s*+"
    r"(?:=\s*+(\"(?:[^\"\\]|\\.)*+\"|[^;\"]*[^;\"\s]))?\s*+",
    re.DOTALL,
)


def parse_params(text: str) -> dict[str, str | None]:
    """Read ``;name=value;name`` (RFC 3261 25.1 generic-param) in order.

    Names are folded to lower case; values stay as written, quotes included (see
    ``unquote``). One trailing semicolon is forgiven. Raises Malformed for empty or
    repeated parameters.
    """
    params: dict[str, str | None] = {}
    text = text.rstrip(" \t;") if text.endswith(";") and ";;" not in text else text
    position, end = 0, len(text)
    while position < end:
        match = _PARAM.match(text, position)
        if match is None or match.end() == position:
            raise Malformed("a parameter is not of the form ;name=value")
        name = match[1].lower()
        if name in params:
            raise Malformed(f"the parameter {name[:40]!r} stands twice")
        params[name] = match[2]
        position = match.end()
    return params


def format_params(params: dict[str, str | None]) -> str:
    """Write parameters as ``;name=value``; None writes the name alone."""
    return "".join(
        f";{name}" if value is None else f";{name}={value}"
        for name, value in params.items()
    )


def unquote(text: str) -> str:
    """Take the quotes off a quoted-string and undo its escapes; tokens stay."""
    if len(text) >= 2 and text[0] == '"' == text[-1]:
        text = text[1:-1]
        if "\\" in text:
            text = re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
    return text


def quote(text: str) -> str:
    """Write a quoted-string (RFC 3261 25.1); line ends and NUL become blanks."""
    for character in "\r\n\0":
        text = text.replace(character, " ")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# Possessive quantifiers (*+ ++) below: a run of blanks is never tried twice, so that no
# hostile value costs more than its length.
HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+"
_VIA = re.compile(
    rf"\s*+(SIP)\s*+/\s*+(2\.0)\s*+/\s*+([A-Za-z0-9-]++)\s++({HOST})\s*+"
    r"(?::\s*+([0-9]{1,5})\s*+)?(;.*)?\Z",
    re.IGNORECASE | re.DOTALL,
)

# As nearly everybody writes it: no blanks, no quotes.
_PLAIN_VIA = re.compile(
    rf"SIP/2\.0/([A-Z]++) ({HOST})(?::([0-9]{{1,5}}))?;([^\s\",<>]++)\Z"
)


@dataclass(slots=True)
class Via:
    """One Via value (RFC 3261 20.42): ``host`` keeps the brackets of IPv6."""

    transport: str
    host: str
    port: int | None = None
    params: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read one value, not a comma list. Raises Malformed."""
        match = _PLAIN_VIA.match(text)
        if match is not None:
            params: dict[str, str | None] = {}
            for pair in match[4].split(";"):
                name, equals, value = pair.partition("=")
                name = name.lower()
                if name in params or not name or (equals and not value):
                    return cls._parse(text)
                params[name] = value if equals else None
            port = int(match[3]) if match[3] else None
            if port is None or 0 < port < 65536:
                return cls(match[1], match[2], port, params)
        return cls._parse(text)

    @classmethod
    def _parse(cls, text: str) -> Via:
        """Read a value with blanks, quotes, odd case or none of the usual parts."""
        match = _VIA.match(text)
        if match is None:
            raise Malformed("a Via is not SIP/2.0/TRANSPORT host[:port][;params]")
        port = int(match[5]) if match[5] else None
        if port is not None and not 0 < port < 65536:
            raise Malformed("the port of a Via is none")
        params = parse_params(match[6]) if match[6] else {}
        return cls(match[3].upper(), match[4], port, params)

    @property
    def branch(self) -> str:
        """The branch parameter, empty when there is none."""
        return self.params.get("branch") or ""

    @property
    def sent_by(self) -> str:
        """``host[:port]`` folded, as transactions compare it (RFC 3261 17.2.3)."""
        host = self.host.lower()
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{format_params(self.params)}"


class CSeq(NamedTuple):
    """The CSeq value (RFC 3261 20.16): a number below 2**31 and a method."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Read ``number method``. Raises Malformed."""
        number, _, method = text.partition(" ")
        if not method or method[0] in " \t" or "\t" in number:
            number, method = (text.split(None, 1) + ["", ""])[:2]
        if not (number.isascii() and number.isdigit() and len(number) <= 10):
            raise Malformed("CSeq is not a number and a method")
        value = int(number)
        if value >= 2**31 or TOKEN.match(method) is None:
            raise Malformed("CSeq is not a number below 2**31 and a method")
        return cls(value, method)

    def __str__(self) -> str:
        return f"{self.number} {self.method}"
