"""The logger of the gateway: structured events, nothing made below the active level.

A message's history is one thing, the log another: message text, passwords, cookies and
whole session ids never come here. How events become lines is in ``loglines``.

One id goes through the log: that of the message, which is the Call-ID, too, of what we
send for it. What comes from SIP has a Call-ID of its own: the event that first names
both ties them together, and later events that know only the Call-ID get the id here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger as _Logger
from twisted.logger import LogLevel

LEVELS = ("debug", "info", "warn", "error", "critical")
_SERVICES = "gateway.services."
SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "http": ("plugins.http", "plugins._http_connection"),
    "csp": (_SERVICES + "sap",),
    "login": (_SERVICES + "access", _SERVICES + "sessions"),
    "messages": tuple(
        _SERVICES + name for name in ("ledger", "sending", "outbox", "delivery")
    ),
    "sip": (
        "plugins.sip",
        *(
            _SERVICES + name
            for name in ("ua", "incoming", "proxy", "embedded", "registration")
        ),
    ),
    "store": ("gateway.store",),
}
"""Words for operators, and the parts of the program that each of them means."""
ROOTS = ("gateway", "plugins", "twisted")
"""With what the dotted name of a subject begins."""

QUIET = 60.0
"""Seconds between two lines about the same peer."""
PEERS = 1024
_CALLS = 10_000
_SHORT = 6
_LONG = 32

transaction: ContextVar[str] = ContextVar("transaction", default="-")
"""The CSP transaction that is being answered, known only where it is logged."""

_level = LogLevel.info
_levels: dict[str, Any] = {}
_loggers: WeakSet[Logger] = WeakSet()
_messages: OrderedDict[str, str] = OrderedDict()


def set_levels(level: str, subjects: Mapping[str, str] | None = None) -> None:
    """Log from this level on; ``subjects`` gives some parts a level of their own.

    A subject is a word of ``SUBJECTS`` or a dotted name; the longest one counts, and
    a dotted name counts before a word.
    """
    global _level
    _level = LogLevel.levelWithName(level)
    _levels.clear()
    for subject, name in sorted((subjects or {}).items(), key=lambda s: "." in s[0]):
        for part in SUBJECTS.get(subject, (subject,)):
            _levels[part] = LogLevel.levelWithName(name)
    for logger in _loggers:
        logger.adjust()


def is_subject(name: str) -> bool:
    """Tell whether a level can be given to a name."""
    return name in SUBJECTS or name.partition(".")[0] in ROOTS


def level_of(namespace: str) -> Any:
    """Give the level from which a part of the program is logged."""
    while namespace:
        if namespace in _levels:
            return _levels[namespace]
        namespace = namespace.rpartition(".")[0]
    return _level


class Logger(_Logger):
    """A ``twisted.logger.Logger`` that is silent below the level of its subject.

    ``debugging`` tells whether debug events are wanted: on the way of each message it
    is asked first, so that nothing is made for an event that nobody reads.
    """

    debugging = False

    def __init__(self, namespace: str = "gateway") -> None:
        super().__init__(namespace)
        self.adjust()
        _loggers.add(self)

    def __set_name__(self, owner: type, name: str) -> None:
        self.namespace = f"{owner.__module__}.{owner.__name__}"
        self.adjust()

    def __get__(self, instance: object, owner: type | None = None) -> Logger:
        """Give this very logger: Twisted's makes a new one each time it is asked."""
        return self

    def adjust(self) -> None:
        """Take over the level of the subject."""
        self._least = level_of(self.namespace)
        self.debugging = self._least <= LogLevel.debug

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:
        """Pass an event on to the observers, unless it is below the level."""
        if level >= self._least:
            super().emit(level, format, **kwargs)

    def debug(self, format: str | None = None, **kwargs: object) -> None:
        """Log a step of a message, completed with the id of the message.

        An event with ``message`` and ``call_id`` ties the two together; one with
        ``call_id`` alone gets its ``message``: the Call-ID itself when nothing is tied.
        """
        if not self.debugging:
            return
        call_id = kwargs.get("call_id")
        if isinstance(call_id, str):
            if "message" in kwargs:
                _tie(call_id, str(kwargs["message"]))
            else:
                kwargs["message"] = _messages.get(call_id, call_id)
        super().debug(format, **kwargs)

    def begins(self, session_id: str, transaction_id: str | None, name: str) -> None:
        """Log that a CSP transaction is to be answered; its messages will name it."""
        if not self.debugging:
            return
        named = f"{session_id[:_SHORT]}/{(transaction_id or '-')[:_LONG]}"
        transaction.set(named)
        text = "CSP {primitive}: transaction={transaction}"
        self.debug(text, primitive=name, transaction=named)

    def ends(self, answer: Any) -> None:
        """Log the answer to the CSP transaction that began."""
        code = getattr(getattr(answer, "result", None), "code", "-")
        text = "CSP answer {primitive} {code}: transaction={transaction}"
        name, begun = answer.NAME, transaction.get()
        self.debug(text, primitive=name, code=code, transaction=begun)


def _tie(call_id: str, message: str) -> None:
    _messages[call_id] = message
    if len(_messages) > _CALLS:
        _messages.popitem(last=False)


@dataclass(slots=True)
class _Peer:
    until: float
    more: int = 0
    last: tuple[str, dict[str, Any]] = ("", {})


class Complaints:
    """Warnings about what peers do wrong: one line a minute and peer, with a count.

    The first fault of a peer is logged at once. What follows is counted, and told with
    the last of it when the minute is over. Beyond ``PEERS`` peers only their faults
    are counted, so that a flood from everywhere costs neither memory nor disk.
    """

    def __init__(self, log: Logger, clock: IReactorTime) -> None:
        self._log = log
        self._clock = clock
        self._peers: dict[str, _Peer] = {}
        self._others = 0
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._peers)

    def about(self, peer: str, format: str, **fields: Any) -> None:
        """Log a fault of a peer, or count it."""
        known = self._peers.get(peer)
        if known is not None:
            known.more += 1
            known.last = (format, fields)
            return
        if len(self._peers) >= PEERS:
            self._others += 1
            return
        self._peers[peer] = _Peer(self._clock.seconds() + QUIET)
        if self._call is None:
            self._call = self._clock.callLater(QUIET, self._tell)
        self._log.warn(format, **fields)

    def _tell(self) -> None:
        """Tell what was held back, and forget who has kept quiet since."""
        now = self._clock.seconds()
        for name, peer in [p for p in self._peers.items() if p[1].until <= now]:
            if not peer.more:
                del self._peers[name]
                continue
            format, fields = peer.last
            text = format + " ({more} more within a minute)"
            self._log.warn(text, more=peer.more, **fields)
            peer.until, peer.more = now + QUIET, 0
        if self._others:
            text = "{more} more faults of other peers within a minute"
            self._log.warn(text, more=self._others)
            self._others = 0
        self._call = None
        if self._peers:
            due = min(peer.until for peer in self._peers.values())
            self._call = self._clock.callLater(max(due - now, 1.0), self._tell)

    def stop(self) -> None:
        """Cancel the timer; what was held back is told now."""
        if self._call is not None:
            self._call.cancel()
            for peer in self._peers.values():
                peer.until = 0.0
            self._tell()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._peers.clear()
