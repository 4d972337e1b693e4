"""The configuration: one TOML file into frozen records, every fault named at once.

Keys, defaults and meaning are the operator's contract; ``etc/gateway.toml`` shows every
key with its default. Sections are read by ``configtable.Table``; a ``[[binding]]``
table is checked by the plugin that its ``type`` names, which the caller hands in:
this module knows no plugin.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gateway.configlimits import Limits, Offline, read_limits, read_offline
from gateway.configtable import (
    ConfigFaults,
    Core,
    Endpoint,
    Network,
    Table,
    duration,
    host,
    nearest,
    size,
)
from gateway.errors import ConfigError
from gateway.log import LEVELS, SUBJECTS, is_subject

__all__ = [
    "Admin",
    "Binding",
    "BindingChecker",
    "Config",
    "ConfigFaults",
    "Core",
    "Endpoint",
    "Gateway",
    "Limits",
    "Log",
    "Network",
    "Offline",
    "Session",
    "Sip",
    "Store",
    "Table",
    "changes",
    "duration",
    "load",
    "parse",
    "size",
]

_DAY = 86400
_SECTIONS = "gateway store sip session offline limits log admin".split()
_DEFAULT_BINDING: Mapping[str, Any] = {
    "type": "csp-http",
    "endpoint": "tcp:8080:interface=127.0.0.1",
    "path": "/csp",
}


class BindingChecker(Protocol):
    """What ``load`` needs of a binding plugin."""

    def parseConfig(self, table: dict[str, Any], path: str) -> object:
        """Check one table; raise ``ConfigFaults`` or ``ConfigError``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """``[gateway]``: what is served and how it presents itself (GetSPInfo)."""

    domain: str
    """The IMPS home domain, lower case."""
    name: str
    description: str
    url: str
    state_dir: Path
    """Absolute; holds secret.key and the spool."""
    hold: float
    """Seconds that a SendMessage waits for the SIP answer."""
    plugin_path: tuple[Path, ...]
    """Further folders with binding plugins, absolute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """``[store]``; a file in the URL is absolute. The URL may hold a password."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sip:
    """``[sip]``: listeners, the core and who is believed."""

    listen: tuple[Endpoint, ...]
    core: tuple[Core, ...]
    """In order of preference; empty with the embedded core."""
    embedded: bool
    """The built-in registrar and proxy stands in for the core."""
    trusted: tuple[Network, ...]
    domain: str
    expires: int
    """Seconds a registration is asked for."""
    core_memory: float
    """Seconds for which a failed core address is avoided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """``[session]``: limits of CSP sessions; times in seconds."""

    keep_alive: int
    """Granted when the handset asks for none."""
    keep_alive_min: int
    keep_alive_max: int
    per_user: int
    re_establish: bool
    retention: int
    """Times KeepAliveTime an ended session is kept, never above 24 h (CSP 1.3 5.2)."""
    poll_min: int
    multi_trans: int
    queue: int
    login_failures: int
    """Failed logins of an account within a minute; then it waits."""
    login_failures_per_address: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """``[log]``: levels are names of ``twisted.logger.LogLevel``."""

    level: str
    format: str
    levels: Mapping[str, str]
    """By subject: a word of ``gateway.log.SUBJECTS``, or a dotted name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """``[admin]``: metrics and health check; None without an endpoint."""

    endpoint: Endpoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One ``[[binding]]``: ``settings`` is what its plugin made of the table.

    Loaded without checkers, ``settings`` is the table itself.
    """

    type: str
    settings: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration; immutable, so a reload is a comparison of two."""

    path: Path
    gateway: Gateway
    store: Store
    sip: Sip
    session: Session
    offline: Offline
    limits: Limits
    log: Log
    admin: Admin
    bindings: tuple[Binding, ...]


def load(
    path: Path | str, bindings: Mapping[str, BindingChecker] | None = None
) -> Config:
    """Read and check a configuration file; relative paths are relative to it.

    ``bindings`` maps the ``type`` words to the plugins found; None leaves the binding
    tables unchecked (for commands that open no listener). Raises ``ConfigFaults``.
    """
    source = str(path)
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        reason = ConfigError("file", f"cannot be read: {error.strerror}")
        raise ConfigFaults([reason], source) from None
    except UnicodeDecodeError:
        raise ConfigFaults([ConfigError("file", "is not UTF-8")], source) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigFaults([ConfigError("TOML", str(error))], source) from None
    return parse(document, Path(path), bindings, source)


def plugin_path(path: Path | str) -> tuple[Path, ...]:
    """Read ``gateway.plugin_path`` alone, before the plugins are looked for.

    A file with faults gives nothing: ``load`` will name them.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    section = document.get("gateway")
    table = Table(section if isinstance(section, dict) else {}, "gateway", [])
    base = Path(path).absolute().parent
    return tuple(base / item for item in table.strings("plugin_path"))


def parse(
    document: Mapping[str, Any],
    path: Path,
    bindings: Mapping[str, BindingChecker] | None = None,
    source: str = "",
) -> Config:
    """Check a parsed document as if read from ``path``; raises ``ConfigFaults``."""
    reader = _Document(document, path.absolute())
    gateway = reader.gateway()
    config = Config(
        path=path.absolute(),
        gateway=gateway,
        store=reader.store(),
        sip=reader.sip(gateway.domain),
        session=reader.session(),
        offline=read_offline(reader.section("offline")),
        limits=read_limits(reader.section("limits")),
        log=reader.log(),
        admin=reader.admin(),
        bindings=reader.bindings(bindings),
    )
    reader.finish()
    if reader.faults:
        raise ConfigFaults(reader.faults, source or str(path))
    return config


class _Document:
    """The sections of one document, each read once; faults gather in ``faults``."""

    def __init__(self, document: Mapping[str, Any], path: Path) -> None:
        self._document = document
        self._base = path.parent
        self._known: list[str] = []
        self.faults: list[ConfigError] = []

    def section(self, name: str) -> Table:
        """Give the table of a section, to be read once."""
        self._known.append(name)
        table = self._document.get(name, {})
        if not isinstance(table, dict):
            self.faults.append(ConfigError(name, f"must be a table: [{name}]"))
            table = {}
        return Table(table, name, self.faults, self._base)

    def gateway(self) -> Gateway:
        table = self.section("gateway")
        allowed = "the domain of the handsets, such as 'example.com'"
        found = Gateway(
            domain=table.string("domain", allowed=allowed, check=host),
            name=table.string("name", "IMPS gateway"),
            description=table.string("description", ""),
            url=table.url("url"),
            state_dir=self._base / table.string("state_dir", "var", pattern=".+"),
            hold=table.seconds("hold", 8, maximum=60),
            plugin_path=tuple(
                self._base / item for item in table.strings("plugin_path")
            ),
        )
        table.finish()
        return found

    def store(self) -> Store:
        table = self.section("store")

        def checked(value: str) -> str:
            if re.match(r"postgresql(\+psycopg)?://.", value):
                return value
            kind, file = value[:10], value[10:]
            if kind != "sqlite:///" or not file:
                raise ValueError
            return value if file == ":memory:" else f"sqlite:///{self._base / file}"

        # The URL may hold a password, so a faulty one is not repeated in the fault.
        url = checked("sqlite:///var/gateway.db")
        given = table.string("url", url)
        try:
            url = url if given == url else checked(given)
        except ValueError:
            allowed = "'sqlite:///FILE' or 'postgresql://USER@HOST/DATABASE'"
            table.fault("url", f"must be {allowed}")
        table.finish()
        return Store(url=url)

    def sip(self, domain: str) -> Sip:
        table = self.section("sip")
        loopback = ":5062:interface=127.0.0.1"
        listen = table.endpoints(
            "listen",
            (f"udp{loopback}", f"tcp{loopback}"),
            kinds=("udp", "tcp", "tcp6", "ssl"),
        )
        core = table.strings(
            "core",
            ("sip:127.0.0.1:5060;transport=udp",),
            allowed="'embedded', or one or a list of "
            "'sip:HOST:PORT;transport=udp|tcp|tls'",
            check=lambda item: item if item == "embedded" else str(Core.parse(item)),
        )
        embedded = core == ("embedded",)
        if not core or ("embedded" in core and not embedded):
            table.fault("core", "must be 'embedded' alone, or at least one SIP URI")
            core = ()
        found = Sip(
            listen=listen,
            core=() if embedded else tuple(map(Core.parse, core)),
            embedded=embedded,
            trusted=table.networks("trusted", ("127.0.0.0/8",)),
            domain=table.string("domain", domain, allowed="a domain name", check=host),
            expires=table.duration("expires", 3600, minimum=60, maximum=7 * _DAY),
            core_memory=table.seconds("core_memory", 30, maximum=3600),
        )
        if not listen:
            table.fault("listen", "must name at least one listener")
        table.finish()
        return found

    def session(self) -> Session:
        table = self.section("session")
        least = table.duration("keep_alive_min", 60, minimum=1, maximum=_DAY)
        most = table.duration("keep_alive_max", _DAY, minimum=1, maximum=30 * _DAY)
        granted = max(least, min(600, most))
        found = Session(
            keep_alive=table.duration("keep_alive", granted, minimum=1),
            keep_alive_min=least,
            keep_alive_max=most,
            per_user=table.integer("per_user", 8, minimum=1, maximum=255),
            re_establish=table.boolean("re_establish", True),
            retention=table.integer("retention", 5, maximum=100),
            poll_min=table.duration("poll_min", 2, maximum=3600),
            multi_trans=table.integer("multi_trans", 8, minimum=1, maximum=64),
            queue=table.integer("queue", 255, minimum=1, maximum=65535),
            login_failures=table.integer("login_failures", 10, minimum=1),
            login_failures_per_address=table.integer(
                "login_failures_per_address", 100, minimum=1
            ),
        )
        if least > most:
            table.fault("keep_alive_min", "must not be above keep_alive_max")
        elif not least <= found.keep_alive <= most:
            allowed = f"keep_alive_min to keep_alive_max, {least} to {most}"
            table.fault("keep_alive", f"must lie within {allowed}")
        table.finish()
        return found

    def log(self) -> Log:
        table = self.section("log")
        found = Log(
            level=table.choice("level", "info", LEVELS),
            format=table.choice("format", "text", ("text", "json")),
            levels=table.choices("levels", LEVELS, SUBJECTS, is_subject),
        )
        table.finish()
        return found

    def admin(self) -> Admin:
        table = self.section("admin")
        endpoint = None
        if "endpoint" in table:
            endpoint = table.endpoint("endpoint", "tcp:9090:interface=127.0.0.1")
        table.finish()
        return Admin(endpoint=endpoint)

    def bindings(
        self, checkers: Mapping[str, BindingChecker] | None
    ) -> tuple[Binding, ...]:
        """Hand each table to its plugin; the order of the file is kept."""
        self._known.append("binding")
        tables = self._document.get("binding", [dict(_DEFAULT_BINDING)])
        if not isinstance(tables, list) or not all(
            isinstance(table, dict) for table in tables
        ):
            reason = "must be a list of tables, each opened by [[binding]]"
            self.faults.append(ConfigError("binding", reason))
            return ()
        # Counted from 1: the operator counts the [[binding]] lines of the file.
        found = [
            self._binding(table, f"binding[{number}]", checkers)
            for number, table in enumerate(tables, 1)
        ]
        return tuple(binding for binding in found if binding is not None)

    def _binding(
        self,
        table: dict[str, Any],
        path: str,
        checkers: Mapping[str, BindingChecker] | None,
    ) -> Binding | None:
        word = table.get("type")
        if not isinstance(word, str):
            known = ", ".join(repr(name) for name in sorted(checkers or ()))
            self.faults.append(
                ConfigError(f"{path}.type", f"is required: one of {known or 'text'}")
            )
            return None
        table = _anchored(table, self._base)
        if checkers is None:
            return Binding(type=word, settings=table)
        if word not in checkers:
            reason = "no such binding" + nearest(word, sorted(checkers))
            self.faults.append(ConfigError(f"{path}.type", reason))
            return None
        try:
            settings = checkers[word].parseConfig(table, path)
        except ConfigFaults as faults:
            self.faults.extend(faults.faults)
        except ConfigError as fault:
            self.faults.append(fault)
        else:
            return Binding(type=word, settings=settings)
        return None

    def finish(self) -> None:
        """Make sections that nobody read faults."""
        for name in self._document:
            if name not in self._known:
                reason = "unknown section" + nearest(name, self._known)
                self.faults.append(ConfigError(name, reason))


def _anchored(table: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of a binding's table absolute: endpoints and ``*_file`` keys.

    Values at fault stay as they are: the plugin names them.
    """
    anchored = dict(table)
    for key, value in table.items():
        if not isinstance(value, str):
            continue
        if key.endswith("_file") and value:
            anchored[key] = str(base / value)
        elif key == "endpoint":
            try:
                anchored[key] = Endpoint.parse(value, base).text
            except ValueError:
                pass
    return anchored


def changes(old: Config, new: Config) -> tuple[str, ...]:
    """Name the keys in which two configurations differ, as ``section.key``.

    Bindings are compared whole and in order, and named ``binding[1]`` and so on.
    """
    named: list[str] = []
    for section in _SECTIONS:
        before, after = getattr(old, section), getattr(new, section)
        named += [
            f"{section}.{item.name}"
            for item in dataclasses.fields(before)
            if getattr(before, item.name) != getattr(after, item.name)
        ]
    count = max(len(old.bindings), len(new.bindings))
    named += [
        f"binding[{index + 1}]"
        for index in range(count)
        if old.bindings[index : index + 1] != new.bindings[index : index + 1]
    ]
    return tuple(named)
