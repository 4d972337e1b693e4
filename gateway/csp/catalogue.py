"""Every primitive and every structure of CSP 1.1 to 1.3, by name.

The syntaxes find a primitive here by its wire name, under any of the names that the
versions and known clients give it.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping

from gateway.csp import (
    attributes,
    capability,
    common,
    common13,
    contactlists,
    groups,
    messaging,
    presence,
    searching,
    servicetree,
    shared,
)
from gateway.csp.schema import Primitive, Structure
from gateway.data import rows

_MODULES: tuple[types.ModuleType, ...] = (
    shared,
    capability,
    servicetree,
    attributes,
    searching,
    common,
    common13,
    messaging,
    contactlists,
    presence,
    groups,
)


def _classes() -> Iterator[type[Structure]]:
    for module in _MODULES:
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Structure)
                and value.__module__ == module.__name__
            ):
                yield value


STRUCTURES: Mapping[str, type[Structure]] = {cls.NAME: cls for cls in _classes()}
"""All structures, primitives included, by element name."""

PRIMITIVES: Mapping[str, type[Primitive]] = {
    name: cls for name, cls in STRUCTURES.items() if issubclass(cls, Primitive)
}
"""All primitives by their wire name of 1.2 and later."""

ALIASES: Mapping[str, str] = {
    row["alias_seen_in_the_wild"]: row["canonical_element"]
    for row in rows("element-aliases")
    # The two names of one primitive are each other's alias; 1.2's is canonical here.
    if row["canonical_element"] != "BlockUser-Request"
}
"""Element names that clients are known to send, and what they mean."""


def primitive_named(name: str) -> type[Primitive] | None:
    """The primitive that an element name stands for in any version, or None."""
    return PRIMITIVES.get(name) or PRIMITIVES.get(ALIASES.get(name, ""))
