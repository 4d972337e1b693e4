"""Primitives to XML text, by their descriptions; no tree is built.

Strict: elements that the version does not know are left out, the others come in its
order and under its names; where it allows one and there are several, the first. What
the version demands and is not there is a defect of ours: ValueError.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NoReturn

from gateway.csp.attributes import PresenceSubList
from gateway.csp.charsets import canonical
from gateway.csp.common import VersionDiscoveryRequest, VersionDiscoveryResponse
from gateway.csp.envelope import Message, Mode, Transaction
from gateway.csp.namespaces import NAMESPACES, Space
from gateway.csp.schema import Field, Kind, Structure, Version, describe
from gateway.csp.values import WRITERS, write_boolean
from gateway.csp.xmlreader import checked

# Beside markup: CR, which a parser would make LF, and what XML 1.0 2.2 forbids.
_FORBIDDEN = "\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff"
_SPECIAL = re.compile(f"[&<>\r{_FORBIDDEN}]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_DISCOVERY = (VersionDiscoveryRequest, VersionDiscoveryResponse)


def _escape(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0], "\ufffd")


def text(value: str) -> str:
    """``value`` as character data; what XML cannot carry becomes U+FFFD."""
    return _SPECIAL.sub(_escape, value) if _SPECIAL.search(value) else value


def write(message: Message, charset: str = "utf-8") -> bytes:
    """Write one message.

    Characters that ``charset`` lacks become character references. Raises ValueError for
    a message that its version cannot carry, UnsupportedMedia for an unknown charset.
    """
    parts: list[str] = []
    if not message.transactions:
        raise ValueError("a message without a transaction")
    first = message.transactions[0].primitive
    if isinstance(first, _DISCOVERY):
        name = first.NAME
        namespace = NAMESPACES[message.version, Space.MESSAGE]
        plans = _PLANS[message.version]
        _write(first, plans, f'<{name} xmlns="{namespace}">', f"</{name}>", parts)
    else:
        _envelope(message, parts)
    if charset == "utf-8":
        return (_DECLARATION + "".join(parts)).encode()
    declaration = _DECLARATION.replace("UTF-8", charset.upper())
    document = declaration + "".join(parts)
    return document.encode(canonical(charset), "xmlcharrefreplace")


@functools.cache
def _frame(version: Version) -> tuple[str, str, str, str]:
    """The text around what differs: Outband, Inband, content, end of a transaction."""
    head = (
        f'<WV-CSP-Message xmlns="{NAMESPACES[version, Space.MESSAGE]}"><Session>'
        "<SessionDescriptor><SessionType>"
    )
    return (
        head + "Outband</SessionType></SessionDescriptor>",
        head + "Inband</SessionType><SessionID>",
        "</TransactionDescriptor><TransactionContent "
        f'xmlns="{NAMESPACES[version, Space.TRANSACTION]}">',
        "</TransactionContent>",
    )


def _envelope(message: Message, parts: list[str]) -> None:
    version = message.version
    outband, inband, _, _ = _frame(version)
    if message.session_id is None:
        parts.append(outband)
    else:
        parts += inband, text(message.session_id), "</SessionID></SessionDescriptor>"
    old = version is Version.V1_1
    last = message.transactions[-1]
    for transaction in message.transactions:
        poll = message.poll if old and transaction is last else None
        _transaction(transaction, version, poll, parts)
    if not old:
        if message.poll is not None:
            parts.append(f"<Poll>{write_boolean(message.poll)}</Poll>")
        if message.cir is not None:
            parts.append(f"<CIR>{write_boolean(message.cir)}</CIR>")
    parts.append("</Session></WV-CSP-Message>")


def _transaction(
    transaction: Transaction, version: Version, poll: bool | None, parts: list[str]
) -> None:
    _, _, content, end = _frame(version)
    parts.append(
        "<Transaction><TransactionDescriptor><TransactionMode>Request</TransactionMode>"
        if transaction.mode is Mode.REQUEST
        else "<Transaction><TransactionDescriptor>"
        "<TransactionMode>Response</TransactionMode>"
    )
    if transaction.id is not None:
        parts.append(f"<TransactionID>{text(transaction.id)}</TransactionID>")
    if transaction.segment is not None and version is Version.V1_3:
        plans = _PLANS[version]
        _write(transaction.segment, plans, "<SegmentInfo>", "</SegmentInfo>", parts)
    if poll is not None:
        parts.append(f"<Poll>{write_boolean(poll)}</Poll>")
    primitive = transaction.primitive
    cls = type(primitive)
    if not cls.SINCE <= version <= cls.UNTIL or not hasattr(cls, "NAME"):
        raise ValueError(f"no {cls.__name__} in CSP {version.text}")
    name = cls.NAMES.get(version, cls.NAME)
    parts.append(content)
    _write(primitive, _PLANS[version], f"<{name}>", f"</{name}>", parts)
    parts.append(end)
    if version is not Version.V1_1:
        for block in transaction.ext_blocks:
            parts += "<ExtBlock>", checked(block), "</ExtBlock>"
    parts.append("</Transaction>")


# How one field is written: attribute, how many may come, whether it must, what comes
# before and after each, and how: as text, by a function to text, or as a structure.
_Step = tuple[str, int, bool, str, str, Callable[[Any], str] | None, bool]
_ONE, _FIRST, _ALL, _FLAG = range(4)


class _Plans(dict[type[Structure], tuple[_Step, ...]]):
    """The steps to write each structure in one version, worked out when needed."""

    def __init__(self, version: Version) -> None:
        super().__init__()
        self.version = version

    def __missing__(self, cls: type[Structure]) -> tuple[_Step, ...]:
        described = describe(cls)
        own = described.text_in(self.version)
        if own is not None:
            steps: tuple[_Step, ...] = (
                (own.attribute, _ONE, False, "", "", None, False),
            )
        else:
            known = described.ordered(self.version)
            steps = tuple(_step(field, self.version) for field in known)
        self[cls] = steps
        return steps


_PLANS = {version: _Plans(version) for version in Version}


def _step(field: Field, version: Version) -> _Step:
    name = field.element.name
    head, tail = (f"<{name}>", f"</{name}>") if name else ("", "")
    count = _ONE
    convert: Callable[[Any], str] | None = WRITERS.get(field.kind)
    if field.repeated:
        count = _FIRST if field.single_in(version) else _ALL
    elif field.kind is Kind.FLAG:
        count, head = _FLAG, f"<{name}/>"
    if field.kind is Kind.FOREIGN:
        convert = checked
    elif field.structure is PresenceSubList:
        head = f'<{name} xmlns="{NAMESPACES[version, Space.PRESENCE]}">'
    nested = field.structure is not None
    return (
        field.attribute,
        count,
        version in field.mandatory,
        head,
        tail,
        convert,
        nested,
    )


def _write(
    value: Structure, plans: _Plans, head: str, tail: str, out: list[str]
) -> None:
    """Write one structure between its tags."""
    out.append(head)
    start = len(out)
    for attribute, count, must, before, after, convert, nested in plans[type(value)]:
        held = getattr(value, attribute)
        if count == _ONE:
            if held is None:
                if must:
                    _lacking(value, attribute, plans.version)
                continue
            if nested:
                _write(held, plans, before, after, out)
            elif convert is not None:
                out.append(f"{before}{convert(held)}{after}")
            elif _SPECIAL.search(held):
                out.append(f"{before}{_SPECIAL.sub(_escape, held)}{after}")
            else:
                out.append(f"{before}{held}{after}")
            continue
        if not held:
            if must:
                _lacking(value, attribute, plans.version)
        elif count == _FLAG:
            out.append(before)
        else:
            for item in held if count == _ALL else held[:1]:
                if nested:
                    _write(item, plans, before, after, out)
                else:
                    out.append(f"{before}{(convert or text)(item)}{after}")
    if len(out) == start:
        out[-1] = f"{head[:-1]}/>"
    else:
        out.append(tail)


def _lacking(value: Structure, attribute: str, version: Version) -> NoReturn:
    raise ValueError(f"{type(value).__name__} needs {attribute} in CSP {version.text}")
