"""The ``twistd imps-gateway`` command: configuration, plugins, start and end.

The only place that knows everybody. All faults are told before the process becomes a
daemon: one line each on stderr, exit status 1.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet import defer
from twisted.logger import ILogObserver
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.python.logfile import LogFile
from zope.interface import implementer

import plugins
from gateway import __version__, config
from gateway.configtable import ConfigFaults
from gateway.errors import ConfigError, Unreachable
from gateway.igateway import IBinding
from gateway.log import Logger, set_levels
from gateway.loglines import set_format, to_file
from gateway.services.node import DRAIN, Node
from gateway.store import migrate
from gateway.store.link import Database
from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore
from gateway.supervisor import notify

SIP = "sip"
_RELOADED = ("binding[", "log.", "session.", "offline.", "limits.")
ADMIN = "admin"
"""The bindings behind the [sip] and [admin] sections; they have no tables."""


def bindings(paths: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Find every binding by its type, in ``plugins`` and the operator's folders."""
    for path in map(str, paths):
        if path not in plugins.__path__:
            plugins.__path__.append(path)
    return {plugin.type: plugin for plugin in getPlugins(IBinding, plugins)}


def load_config(path: Path | str) -> config.Config:
    """Read a configuration as the service does. Raises ConfigFaults."""
    found = bindings(config.plugin_path(path))
    checkers: Mapping[str, Any] = {
        word: plugin for word, plugin in found.items() if word not in (SIP, ADMIN)
    }
    return config.load(path, checkers)


class Options(usage.Options):
    """The command line of ``twistd imps-gateway``."""

    optParameters = [("config", "c", None, "The configuration file (TOML).")]

    def postOptions(self) -> None:
        """Check everything that can be checked before the process is a daemon."""
        path = self["config"]
        if path is None:
            _refuse("imps-gateway: --config FILE is needed")
        try:
            self["loaded"] = loaded = load_config(path)
            self["secrets"] = Secrets.open(loaded.gateway.state_dir)
            _check_store(loaded)
        except ConfigFaults as faults:
            _refuse(str(faults))
        except ConfigError as fault:
            _refuse(f"{path}: {fault}")


def _check_store(loaded: config.Config) -> None:
    """Refuse a schema of another release; a store that is away may come back."""
    database = Database(loaded.store.url)
    try:
        database.make_file()
        migrate.check(database)
    except Unreachable:
        return
    finally:
        database.engine.dispose()


def _refuse(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    raise SystemExit(1)


@implementer(IService)
class Gateway(MultiService):
    """The node and its bindings as one service of Twisted."""

    _log = Logger()

    def __init__(self, reactor: Any, loaded: config.Config, secrets: Secrets) -> None:
        super().__init__()
        self._reactor = reactor
        self.config = loaded
        _apply(loaded.log)
        found = bindings(loaded.gateway.plugin_path)
        store = SqlStore(loaded.store.url, reactor, secrets, _now)
        self.node = Node(
            reactor,
            loaded,
            store,
            name=f"{os.uname().nodename}:{loaded.path}",
            secret=secrets.derive("sip nonces"),
        )
        self.sip = found[SIP].makeService(reactor, loaded.sip, self.node)
        self.admin: Any = None
        self.parts = [
            (binding, found[binding.type].makeService(reactor, settings, self.node))
            for binding in loaded.bindings
            for settings in (binding.settings,)
        ]
        if loaded.admin.endpoint is not None:
            self.admin = found[ADMIN].makeService(
                reactor, loaded.admin.endpoint, self.node
            )
        self.started: defer.Deferred[None] = defer.Deferred()
        self.observer: Any = None
        """What writes the log when twistd runs the service; None: what twistd has."""

    def setServiceParent(self, parent: Any) -> None:
        """Become part of an application; its log is written as configured here."""
        super().setServiceParent(parent)
        if self.observer is not None:
            parent.setComponent(ILogObserver, self.observer)

    def startService(self) -> None:
        """Begin; listeners open once the store is there."""
        super().startService()
        self._reactor.callWhenRunning(self._signals)
        d = defer.ensureDeferred(self._start())
        d.addErrback(self._unstarted)

    async def _start(self) -> None:
        if self.admin is not None:
            self.admin.setServiceParent(self)
        await self.node.open()
        self.sip.startService()
        self.node.listening(self.sip.addresses)
        await self.node.start()
        _settle_memory()
        # What is restored meanwhile stays as well; nobody has to wait for a look at it.
        self.node.restored.addCallback(lambda _: gc.freeze())
        for _, part in self.parts:
            part.setServiceParent(self)
        self._log.info(
            "IMPS gateway {version} serves {domain}: {listeners}",
            version=__version__,
            domain=self.config.gateway.domain,
            listeners=", ".join(self.listeners()),
        )
        notify("READY=1", f"STATUS=serves {self.config.gateway.domain}")
        self.started.callback(None)

    def listeners(self) -> list[str]:
        """Name every address that is open, in words."""
        named = [
            f"SIP {transport}:{host}:{port}"
            for transport, host, port in self.sip.addresses
        ]
        for binding, part in self.parts:
            named += [f"{binding.type} {host}:{port}" for host, port in part.addresses]
        if self.admin is not None:
            named += [f"admin {host}:{port}" for host, port in self.admin.addresses]
        return named

    def _unstarted(self, failure: Any) -> None:
        """Tell why the service cannot start, and end with status 1."""
        if failure.check(ConfigError):
            sys.stderr.write(f"{self.config.path}: {failure.value}\n")
        else:
            sys.stderr.write(f"imps-gateway: {failure.getErrorMessage()}\n")
            self._log.failure("the service does not start", failure)
        self._reactor.addSystemEventTrigger("after", "shutdown", _exit_with_fault)
        self._reactor.callWhenRunning(self._reactor.stop)

    # -- signals -----------------------------------------------------------------

    def _signals(self) -> None:
        """Take the signals over from twistd, whose end is 143 and whose HUP kills."""
        signal.signal(signal.SIGTERM, self.on_term)
        signal.signal(signal.SIGHUP, self._on_hup)

    def on_term(self, number: int, frame: object) -> None:
        """End in order; the handler of a signal."""
        self._reactor.callFromThread(self._stop_once)

    def _on_hup(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self.reload)

    def _stop_once(self) -> None:
        if self.running:
            self._log.info("SIGTERM: finishing what is in flight")
            self._reactor.stop()

    def reload(self) -> None:
        """Apply what changed in the configuration; on a fault keep the old."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._reload()
        finally:
            notify("READY=1")

    def _reload(self) -> None:
        try:
            new = load_config(self.config.path)
        except ConfigFaults as faults:
            self._log.error("not reloaded: {faults}", faults=str(faults))
            return
        changed = set(config.changes(self.config, new))
        _apply(new.log)
        self.config = replace(
            self.config,
            log=new.log,
            session=new.session,
            offline=new.offline,
            limits=new.limits,
        )
        self.node.apply(self.config)
        kept = {name for name in changed if not name.startswith(_RELOADED)}
        for index, (binding, part) in enumerate(self.parts):
            same = new.bindings[index : index + 1]
            if not same or same[0].type != binding.type:
                kept.add(f"binding[{index + 1}]")
                continue
            try:
                kept.update(part.reload(same[0].settings))
            except ConfigError as fault:
                self._log.error("not reloaded: {fault}", fault=str(fault))
                kept.add(f"binding[{index + 1}]")
        self._log.info(
            "reloaded: {applied}; needs a restart: {kept}",
            applied=", ".join(sorted(changed - kept)) or "certificates",
            kept=", ".join(sorted(kept)) or "nothing",
        )

    def stopService(self) -> defer.Deferred[None]:
        """Take no new work, finish what is in flight (at most 5 s), flush."""
        return defer.Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        notify("STOPPING=1")
        bindings = super().stopService
        for what, work in (
            ("draining", self.node.drain),
            ("the bindings", lambda: self._in_time(bindings)),
            ("SIP", self.sip.stopService),
            ("the node", lambda: defer.Deferred.fromCoroutine(self.node.stop())),
        ):
            try:
                await defer.maybeDeferred(work)
            except Exception:
                # The rest must end all the same: the store's threads above all.
                self._log.failure("{what} did not end well", what=what)

    def _in_time(self, work: Callable[[], Any]) -> defer.Deferred[Any]:
        ending = defer.maybeDeferred(work)
        return ending.addTimeout(DRAIN, self._reactor, lambda result, limit: None)


def _apply(log: config.Log) -> None:
    set_levels(log.level, log.levels)
    set_format(log.format)


def _observer(options: Mapping[str, Any], reactor: Any) -> Any:
    """Make what writes the log where the options of twistd say; see its --help.

    None where twistd knows better: with ``--syslog`` or ``--logger``, and for a daemon
    that shall log to standard output, which it refuses.
    """
    name, foreground = options["logfile"], options["nodaemon"]
    if options["syslog"] or options["logger"] or (name == "-" and not foreground):
        return None
    if foreground and name in (None, "", "-"):
        return to_file(sys.stdout)
    file = LogFile.fromFullPath(name or "twistd.log")
    if not signal.getsignal(signal.SIGUSR1):
        rotate = file.rotate
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(rotate))
    return to_file(file)


def _settle_memory() -> None:
    """Let the collector pass over what was there at the start, and come less often.

    Messages leave few cycles behind; looking through the whole program for them with
    every 700 objects costs a tenth of the processor (``python -m bench p1``).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _exit_with_fault() -> None:
    sys.stderr.flush()
    os._exit(1)


def _now() -> int:
    return time.time_ns() // 1000


def makeService(options: Options) -> Gateway:
    """Make the service of checked options."""
    from twisted.internet import reactor

    gateway = Gateway(reactor, options["loaded"], options["secrets"])
    if options.parent is not None:  # twistd's own options
        gateway.observer = _observer(options.parent, reactor)
    return gateway
