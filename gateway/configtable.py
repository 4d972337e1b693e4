"""Readers for one table of the configuration: typed values, every fault collected.

A reader never stops at the first fault: it notes what is wrong and what is allowed,
goes on with the default, and the caller refuses once everything has been read
(the operator's contract: a faulty configuration never starts, one line per fault).
Bindings check their own ``[[binding]]`` tables with the same ``Table``.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from gateway.errors import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")

_DURATION = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)"
    r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*\Z"
)
_CORE = re.compile(
    r"(?P<scheme>sips?):(?P<host>\[[0-9A-Fa-f:.]+\]|[^:;?@\s\[\]]+)"
    r"(?::(?P<port>\d{1,5}))?(?:;transport=(?P<transport>udp|tcp|tls))?\Z",
    re.IGNORECASE,
)
_SECRET_KEYS = ("password", "secret", "token")
# The arguments of Twisted's endpoint strings that name files.
_FILE_ARGUMENTS = frozenset(
    {"privateKey", "certKey", "extraCertChain", "dhParameters", "caCertsDir"}
)
_TRANSPORTS = {"udp": "udp", "ssl": "tls"}


class ConfigFaults(Exception):
    """Every fault of one configuration; ``str`` gives one line for each.

    ``source`` is the file as the operator named it, and opens each line when known.
    """

    def __init__(self, faults: Sequence[ConfigError], source: str = "") -> None:
        prefix = f"{source}: " if source else ""
        super().__init__("\n".join(f"{prefix}{fault}" for fault in faults))
        self.faults = list(faults)
        self.source = source


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A listening address, written as a Twisted server endpoint string (``udp:`` too).

    ``text`` is the string with file arguments made absolute; ``port`` is 0 where the
    system picks one and for kinds without ports.
    """

    text: str
    kind: str
    port: int
    interface: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, text: str, base: Path | None = None) -> Endpoint:
        """Read an endpoint string; relative file arguments are taken from ``base``.

        Quoting is Twisted's: ``\\:`` stands for a colon inside an argument. Raises
        ValueError with what is wrong.
        """
        parts = [
            part.replace("\\:", ":") for part in re.split(r"(?<!\\):", text.strip())
        ]
        kind, *rest = parts
        positional = [part for part in rest if "=" not in part]
        arguments = dict(part.split("=", 1) for part in rest if "=" in part)
        for name in _FILE_ARGUMENTS & arguments.keys():
            if base is not None:
                arguments[name] = str(base / arguments[name])
        port = 0
        if kind in ("tcp", "tcp6", "udp", "ssl"):
            written = arguments.get("port") or (positional[0] if positional else "")
            if not written.isascii() or not written.isdigit() or int(written) > 65535:
                raise ValueError("needs a port from 0 to 65535 after its first colon")
            port = int(written)
        quoted = [kind, *positional] + [f"{k}={v}" for k, v in arguments.items()]
        return cls(
            text=":".join(part.replace(":", "\\:") for part in quoted),
            kind=kind,
            port=port,
            interface=arguments.get("interface", ""),
            arguments=MappingProxyType(arguments),
        )

    @property
    def transport(self) -> str:
        """The word SIP uses for what listens here: udp, tcp or tls."""
        return _TRANSPORTS.get(self.kind, "tcp")

    def __str__(self) -> str:
        return self.text


class Core(NamedTuple):
    """One address of the SIP core: transport is udp, tcp or tls."""

    transport: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Core:
        """Read ``sip:HOST[:PORT][;transport=udp|tcp|tls]``; raises ValueError."""
        match = _CORE.match(text)
        if match is None:
            raise ValueError("not the SIP URI of a host")
        secure = match["scheme"].lower() == "sips"
        transport = (match["transport"] or ("tls" if secure else "udp")).lower()
        if secure and transport == "udp":
            raise ValueError("sips over udp")
        transport = "tls" if secure else transport
        port = int(match["port"] or (5061 if transport == "tls" else 5060))
        if not 0 < port < 65536:
            raise ValueError("the port")
        return cls(transport, host(match["host"]), port)

    def __str__(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"sip:{shown}:{self.port};transport={self.transport}"


def duration(value: object) -> float:
    """Read a duration: a number of seconds, or text such as ``"90s"`` or ``"7d"``.

    Raises ValueError on anything else.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):  # TOML has inf and nan
            raise ValueError("a finite number of seconds")
        return value
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([smhdw])", str(value))
    if not isinstance(value, str) or match is None:
        raise ValueError("seconds, or a number with s, m, h, d or w")
    return float(match[1]) * _DURATION[match[2]]


def size(value: object) -> int:
    """Read a size: a number of bytes, or text such as ``"300KiB"`` or ``"2MB"``.

    Raises ValueError on anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"([0-9]{1,15})\s*([A-Za-z]*)", str(value))
    if not isinstance(value, str) or match is None or match[2] not in _SIZE:
        raise ValueError("bytes, or a number with kB, MB, GB, KiB, MiB or GiB")
    return int(match[1]) * _SIZE[match[2]]


def host(text: str) -> str:
    """Read a host name or an IP address, folded to lower case; raises ValueError."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        if not _HOST.match(text):
            raise ValueError("a host name or an IP address") from None
    return text.lower()


def nearest(name: str, known: Sequence[str]) -> str:
    """Say which known name an unknown one comes nearest to."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"; the nearest known name is {found[0]!r}" if found else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _span(low: float | None, high: float | None, unit: str = "") -> str:
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}{unit}"
    return f" of at least {low:g}{unit}" if low is not None else ""


class Table:
    """Reads one table, key by key; ``finish`` makes whatever was not read a fault.

    ``path`` names the table in faults (``sip``, ``binding[1]``). With ``faults`` given
    they are added there; without, ``finish`` raises them as ``ConfigFaults``. Each
    reader takes the default of its key and returns it when the value is at fault, so
    that reading goes on.
    """

    def __init__(
        self,
        mapping: Mapping[str, Any],
        path: str,
        faults: list[ConfigError] | None = None,
        base: Path | None = None,
    ) -> None:
        self._mapping = mapping
        self._path = path
        self._own = faults is None
        self._faults: list[ConfigError] = [] if faults is None else faults
        self._base = base
        # A plugin was found by the `type` of its table: read before it came here.
        self._known: list[str] = ["type"] if faults is None else []

    def fault(self, key: str, reason: str) -> None:
        """Note one fault of ``key``."""
        self._faults.append(ConfigError(f"{self._path}.{key}", reason))

    def __contains__(self, key: str) -> bool:
        return key in self._mapping

    def _read(self, key: str, default: T, allowed: str, check: Callable[[Any], T]) -> T:
        self._known.append(key)
        if key not in self._mapping:
            return default
        value = self._mapping[key]
        try:
            return check(value)
        except ValueError as error:
            secret = any(word in key for word in _SECRET_KEYS)
            found = "" if secret else f", not {_shown(value)}"
            self.fault(key, f"must be {allowed or error}{found}")
            return default

    def string(
        self,
        key: str,
        default: str | None = None,
        *,
        pattern: str = "",
        allowed: str = "text",
        check: Callable[[str], str] = str,
    ) -> str:
        """Read text, wholly matching ``pattern`` when given; None makes it required.

        ``check`` may fold the text, and raises ValueError when it is not ``allowed``.
        """
        if default is None and key not in self._mapping:
            self.fault(key, f"is required: {allowed}")

        def checked(value: object) -> str:
            if not isinstance(value, str):
                raise ValueError
            if pattern and not re.fullmatch(pattern, value):
                raise ValueError
            return check(value)

        return self._read(key, default or "", allowed, checked)

    def boolean(self, key: str, default: bool) -> bool:
        """Read true or false."""

        def checked(value: object) -> bool:
            if not isinstance(value, bool):
                raise ValueError
            return value

        return self._read(key, default, "true or false", checked)

    def integer(
        self,
        key: str,
        default: int,
        *,
        minimum: int | None = 0,
        maximum: int | None = None,
    ) -> int:
        """Read a whole number between the two bounds, both included."""

        def checked(value: object) -> int:
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError
            return _bounded(value, minimum, maximum)

        allowed = "a whole number" + _span(minimum, maximum)
        return self._read(key, default, allowed, checked)

    def size(
        self, key: str, default: int, *, minimum: int = 0, maximum: int | None = None
    ) -> int:
        """Read a size in bytes: a whole number, or text such as "300KiB"."""
        allowed = f"a size{_span(minimum, maximum, ' bytes')} such as 65536 or '2MiB'"
        return self._read(
            key, default, allowed, lambda v: _bounded(size(v), minimum, maximum)
        )

    def seconds(
        self,
        key: str,
        default: float,
        *,
        minimum: float = 0,
        maximum: float | None = None,
    ) -> float:
        """Read a duration in seconds, fractions allowed: 0.5, 8, "8s" or "7d"."""
        allowed = f"a duration{_span(minimum, maximum, ' s')} such as 8, '90s' or '7d'"
        return self._read(
            key, default, allowed, lambda v: _bounded(duration(v), minimum, maximum)
        )

    def duration(
        self, key: str, default: int, *, minimum: int = 0, maximum: int | None = None
    ) -> int:
        """Read a duration in whole seconds: 600, "90s", "10m" or "7d"."""

        def checked(value: object) -> int:
            found = _bounded(duration(value), minimum, maximum)
            if found != int(found):
                raise ValueError
            return int(found)

        allowed = f"whole seconds{_span(minimum, maximum)}, such as 600, '10m' or '7d'"
        return self._read(key, default, allowed, checked)

    def choice(self, key: str, default: str, among: Sequence[str]) -> str:
        """Read one of the words of ``among``."""

        def checked(value: object) -> str:
            if value not in among or not isinstance(value, str):
                raise ValueError
            return value

        allowed = "one of " + ", ".join(repr(word) for word in among)
        return self._read(key, default, allowed, checked)

    def choices(
        self,
        key: str,
        among: Sequence[str],
        names: Collection[str],
        check: Callable[[str], bool],
    ) -> dict[str, str]:
        """Read a table below this one: names, each with one of the words of ``among``.

        ``check`` tells whether a name is good; ``names`` are some that are.
        """
        self._known.append(key)
        table = self._mapping.get(key, {})
        if not isinstance(table, dict):
            self.fault(key, f"must be a table: [{self._path}.{key}]")
            return {}
        below = Table(table, f"{self._path}.{key}", self._faults)
        for name in table:
            if not check(name):
                below.fault(name, "unknown name" + nearest(name, tuple(names)))
        return {name: below.choice(name, among[0], among) for name in table}

    def number_choice(self, key: str, default: int, among: Sequence[int]) -> int:
        """Read one of the numbers of ``among``."""

        def checked(value: object) -> int:
            if value not in among or type(value) is not int:
                raise ValueError
            return value

        allowed = "one of " + ", ".join(str(number) for number in among)
        return self._read(key, default, allowed, checked)

    def strings(
        self,
        key: str,
        default: Sequence[str] = (),
        *,
        allowed: str = "a list of text",
        check: Callable[[str], str] = str,
    ) -> tuple[str, ...]:
        """Read a list of text; a single text stands for a list of one."""

        def checked(value: object) -> tuple[str, ...]:
            items = [value] if isinstance(value, str) else value
            if not isinstance(items, list):
                raise ValueError
            if not all(isinstance(item, str) for item in items):
                raise ValueError
            return tuple(check(item) for item in items)

        return self._read(key, tuple(default), allowed, checked)

    def networks(self, key: str, default: Sequence[str] = ()) -> tuple[Network, ...]:
        """Read a list of networks: addresses, or addresses with a prefix length."""

        def checked(value: object) -> tuple[Network, ...]:
            items = [value] if isinstance(value, str) else value
            if not isinstance(items, (list, tuple)):
                raise ValueError
            if not all(isinstance(item, str) for item in items):
                raise ValueError
            return tuple(ipaddress.ip_network(item, strict=False) for item in items)

        allowed = "a list of networks such as ['127.0.0.0/8', '::1']"
        return self._read(key, checked(list(default)), allowed, checked)

    def endpoint(
        self,
        key: str,
        default: str | None = None,
        *,
        kinds: Sequence[str] = ("tcp", "tcp6", "ssl", "unix"),
    ) -> Endpoint:
        """Read one endpoint string of the given kinds; None makes it required."""
        if default is None and key not in self._mapping:
            self.fault(key, "is required: " + _endpoint_form(kinds))
        empty = default or f"{kinds[0]}:0"
        return self._read(
            key, Endpoint.parse(empty), "", lambda value: self._listener(value, kinds)
        )

    def endpoints(
        self, key: str, default: Sequence[str], *, kinds: Sequence[str]
    ) -> tuple[Endpoint, ...]:
        """Read a list of endpoint strings of the given kinds, or a single one."""

        def checked(value: object) -> tuple[Endpoint, ...]:
            items = value if isinstance(value, list) else [value]
            return tuple(self._listener(item, kinds) for item in items)

        parsed = tuple(Endpoint.parse(text) for text in default)
        return self._read(key, parsed, "", checked)

    def _listener(self, value: object, kinds: Sequence[str]) -> Endpoint:
        form = _endpoint_form(kinds)
        if not isinstance(value, str):
            raise ValueError(form)
        try:
            found = Endpoint.parse(value, self._base)
        except ValueError as error:
            raise ValueError(f"{form}; it {error}") from None
        if found.kind not in kinds:
            raise ValueError(form)
        if found.kind == "ssl" and "privateKey" not in found.arguments:
            raise ValueError(f"{form}; ssl needs privateKey=FILE and certKey=FILE")
        for name in sorted(_FILE_ARGUMENTS & found.arguments.keys()):
            if not Path(found.arguments[name]).exists():
                raise ValueError(f"{form}; {name} names no file that exists")
        return found

    def url(
        self, key: str, default: str = "", *, schemes: Sequence[str] = ("http", "https")
    ) -> str:
        """Read an absolute URL of one of the schemes; empty stands for none."""

        def checked(value: str) -> str:
            parts = urlsplit(value)
            if value and (parts.scheme not in schemes or not parts.netloc):
                raise ValueError
            return value

        allowed = " or ".join(f"a {scheme}:// URL" for scheme in schemes)
        return self.string(key, default, allowed=allowed, check=checked)

    def finish(self) -> None:
        """Make every key that nobody read a fault; raise ``ConfigFaults`` if owner."""
        for key in self._mapping:
            if key not in self._known:
                self.fault(key, "unknown key" + nearest(key, self._known))
        if self._own and self._faults:
            raise ConfigFaults(self._faults)


def _endpoint_form(kinds: Sequence[str]) -> str:
    return f"an endpoint string such as '{kinds[0]}:8080:interface=127.0.0.1' (" + (
        f"{', '.join(kinds)})"
    )


N = TypeVar("N", int, float)


def _bounded(value: N, minimum: float | None, maximum: float | None) -> N:
    if minimum is not None and value < minimum:
        raise ValueError
    if maximum is not None and value > maximum:
        raise ValueError
    return value
