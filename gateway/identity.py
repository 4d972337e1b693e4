"""Addresses of both worlds and the mapping between them.

IMPS: ``wv:user@domain``, ``wv:user/resource@domain``, ``wv:/group@domain``,
``wv:+number``; SIP: ``sip:user@domain``, ``tel:+number``. Rules and test table:
``docs/interworking.md`` (from the interworking reference, address-map 1 to 7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from gateway.errors import Malformed

_UNRESERVED = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()+"
)
_MSISDN = re.compile(r"\+[0-9]{7,15}\Z")
_NOT_IN_WV = frozenset('/@<>" ')
_HEX = re.compile(r"%([0-7][0-9A-Fa-f])")
_MAX = 512
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z|\[[0-9a-f:.]+\]\Z")
_NOBODY = "anonymous.invalid"


def _domain(text: str) -> str:
    """Fold a domain to what SIP carries: lower case, IDNA A-labels (address-map 3).

    Raises Malformed, so that no domain can bring parameters or a header along.
    """
    host = text.lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise Malformed("the domain of an address is none") from None
    if len(host) > 255 or _HOST.match(host) is None:
        raise Malformed("the domain of an address is none")
    return host


def fold_user(text: str) -> str:
    """Fold a name for comparison: case is ignored in IMPS (address-map 1)."""
    return text.casefold()


@dataclass(frozen=True, slots=True)
class WVAddress:
    """One IMPS address; ``str()`` gives the canonical spelling with its schema.

    ``user`` is empty for a public group or the service itself, ``resource`` names a
    contact list or a group, ``domain`` is empty only before it is resolved.
    """

    user: str
    domain: str
    resource: str = ""

    @classmethod
    def parse(cls, text: str, home: str = "") -> WVAddress:
        """Read ``[wv:][user][/resource][@domain]``; a missing domain becomes ``home``.

        ``sip:``, ``sips:`` and ``tel:`` spellings are accepted as well (address-map 1).
        Raises Malformed.
        """
        text = text.strip()
        if not text or len(text) > _MAX or any(c < " " or c == "\x7f" for c in text):
            raise Malformed("an IMPS address is 1 to 512 printable characters")
        scheme, colon, rest = text.partition(":")
        scheme = scheme.lower()
        if colon and scheme in ("sip", "sips", "tel"):
            return from_sip(text, home)
        if colon and scheme == "wv":
            text = rest
        elif colon and scheme.isalnum() and "@" not in scheme and "/" not in scheme:
            raise Malformed(f"the schema {scheme!r} is not served")
        slash, at = text.find("/"), text.rfind("@")
        domain = ""
        if at >= 0:
            text, domain = text[:at], text[at + 1 :]
            if not domain:
                raise Malformed("the domain of an IMPS address is empty")
        user, resource = text, ""
        if 0 <= slash < len(text):
            user, resource = text[:slash], text[slash + 1 :]
            if not resource:
                raise Malformed("the resource of an IMPS address is empty")
        return cls(user, _domain(domain) if domain else home.lower(), resource)

    def __str__(self) -> str:
        resource = f"/{self.resource}" if self.resource else ""
        domain = f"@{self.domain}" if self.domain else ""
        return f"wv:{self.user}{resource}{domain}"

    @property
    def key(self) -> str:
        """The folded form by which two spellings are compared."""
        user = _named(fold_user(_plain(self.user)))
        return str(WVAddress(user, self.domain, self.resource.casefold()))

    @property
    def is_msisdn(self) -> bool:
        """Whether the user part is a mobile number (``+`` and 7 to 15 digits)."""
        return _MSISDN.match(self.user) is not None


def _escape(user: str) -> str:
    raw = user.encode("utf-8", "replace")
    return "".join(chr(b) if b in _UNRESERVED else f"%{b:02X}" for b in raw)


def _named(plain: str) -> str:
    """Write a name as IMPS holds it: what it may not hold becomes a literal ``%XX``.

    A percent sign that would be read as such an escape is written as one, too, so that
    two SIP users never become one IMPS user (address-map 3).
    """
    plain = _HEX.sub(r"%25\1", plain)
    return "".join(
        f"%{ord(c):02X}" if c in _NOT_IN_WV or c < " " or c == "\x7f" else c
        for c in plain
    )


def _plain(name: str) -> str:
    """Read a name as IMPS holds it: the other way round of ``_named``."""
    return _HEX.sub(lambda match: chr(int(match[1], 16)), name)


def to_aor(address: WVAddress, sip_domain: str | None = None) -> str:
    """Give the SIP address of record of an IMPS user (address-map 2, 3).

    The name is folded, because SIP compares user parts by case and IMPS does not.
    ``to_aor(from_sip(x)) == x`` after comparison. Raises Malformed for an address
    without a user.
    """
    if not address.user or not address.domain:
        raise Malformed("an IMPS address without user or domain has no SIP address")
    if address.resource:
        raise Malformed("a list or group is no SIP user")
    return f"sip:{_aor_user(address.user)}@{sip_domain or address.domain}"


@lru_cache(maxsize=8192)
def _aor_user(user: str) -> str:
    return _escape(fold_user(_plain(user)))


def request_uri(aor: str) -> str:
    """Give the Request-URI for an AoR: numbers are marked ``user=phone``."""
    if aor.startswith("sip:+"):
        return f"{aor};user=phone"
    return aor


def from_sip(text: str, home: str) -> WVAddress:
    """Read a ``sip:``, ``sips:``, ``tel:``, ``im:`` or ``pres:`` URI as an address.

    URI parameters and headers are dropped (address-map 2); ``home`` is the domain of
    numbers without one. Raises Malformed.
    """
    scheme, colon, rest = text.strip().partition(":")
    scheme = scheme.lower()
    if not colon or len(text) > _MAX:
        raise Malformed("not a URI")
    if scheme == "tel":
        return _from_tel(rest, home)
    if scheme not in ("sip", "sips", "im", "pres"):
        raise Malformed(f"the scheme {scheme!r} is not served")
    rest = rest.partition("?")[0]
    user, at, host = rest.rpartition("@")
    if not at:
        raise Malformed("a SIP address without user")
    host = host.partition(";")[0]
    if host.startswith("["):
        host = host.partition("]")[0] + "]"
    else:
        host = host.partition(":")[0]
    user = user.partition(";")[0].partition(":")[0]
    try:
        name = _named(unquote(user, errors="strict"))
    except UnicodeDecodeError as error:
        raise Malformed("the user part is not UTF-8") from error
    if not name or not host:
        raise Malformed("a SIP address without user or host")
    domain = _domain(host)
    if domain == _NOBODY:  # RFC 3323 4.1.1.3: there is nobody to answer to
        return WVAddress("anonymous", home)
    return WVAddress(name, domain)


def _from_tel(rest: str, home: str) -> WVAddress:
    number, _, parameters = rest.partition(";")
    number = "".join(c for c in number if c not in "-.() ")
    if not number.startswith("+"):
        context = next(
            (
                p.partition("=")[2]
                for p in parameters.split(";")
                if p.lower().startswith("phone-context=")
            ),
            "",
        )
        if not context.startswith("+"):
            raise Malformed("a local number needs a phone-context")
        number = context + number
    if not _MSISDN.match(number):
        raise Malformed("a mobile number is + and 7 to 15 digits")
    return WVAddress(number, home)


@dataclass(frozen=True, slots=True)
class Domains:
    """The home domain in its two spellings: the IMPS one and the SIP one."""

    home: str
    sip: str

    def address(self, text: str) -> WVAddress:
        """Read an IMPS address (or a SIP one) as a handset of ours writes it."""
        address = WVAddress.parse(text, self.home)
        if address.domain == self.sip != self.home:
            return WVAddress(address.user, self.home, address.resource)
        return address

    def aor(self, address: WVAddress) -> str:
        """Give the AoR of an IMPS user, in the SIP spelling of our own domain."""
        return to_aor(address, self.sip if address.domain == self.home else None)

    def key(self, uri: str) -> str:
        """Fold a SIP URI to the AoR text that names a user in the store."""
        return self.aor(self.wv(uri))

    def wv(self, uri: str) -> WVAddress:
        """Read a SIP URI as the IMPS address that handsets see."""
        return _seen(uri, self.home, self.sip)


@lru_cache(maxsize=8192)
def _seen(uri: str, home: str, sip: str) -> WVAddress:
    """Read a SIP URI as handsets see it; the same few come with every message."""
    address = from_sip(uri, home)
    if address.domain == sip:
        return WVAddress(address.user, home)
    return address
