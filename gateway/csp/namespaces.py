"""The XML namespaces of the protocol, and the versions that they stand for.

Each version has three: of the message, of the transaction content and of presence.
"""

from __future__ import annotations

import enum
import re

from gateway.csp.schema import Version


class Space(enum.Enum):
    """What a namespace is for."""

    MESSAGE = "CSP"
    TRANSACTION = "TRC"
    PRESENCE = "PA"


_PREFIXES = {
    Version.V1_1: "http://www.wireless-village.org/",
    Version.V1_2: "http://www.openmobilealliance.org/DTD/WV-",
    Version.V1_3: "http://www.openmobilealliance.org/DTD/IMPS-",
}
NAMESPACES = {
    (version, space): f"{prefix}{space.value}{version.text}"
    for version, prefix in _PREFIXES.items()
    for space in Space
}
"""The namespace to write, by version and use."""

_VERSIONS = {name: version for (version, _), name in NAMESPACES.items()}
# Any spelling that ends like one of ours. Symbian has one without "/DTD".
_NUMBERED = re.compile(r"(?:CSP|TRC|PA) ?([0-9]{1,3})\.([0-9]{1,3})/?\Z", re.IGNORECASE)


def is_ours(namespace: str) -> bool:
    """Whether ``namespace`` is one of the nine that we write, to the letter."""
    return namespace in _VERSIONS


def version_of(namespace: str) -> tuple[Version, bool]:
    """The version that ``namespace`` stands for, and whether we speak it.

    If we do not, the version is the nearest one that we speak (1.2 if there is no
    telling); the answer to such a message is Status 505.
    """
    exact = _VERSIONS.get(namespace)
    if exact is not None:
        return exact, True
    numbered = _NUMBERED.search(namespace)
    if numbered is None:
        return Version.V1_2, False
    number = int(numbered[1]) * 10 + min(int(numbered[2]), 9)
    try:
        return Version(number), True
    except ValueError:
        return min(Version, key=lambda version: abs(version - number)), False
