"""Login digests, for both sides (CSP, login in four steps).

DigestBytes = BASE64(HASH(nonce text, password)): the nonce exactly as it stands in the
message, directly followed by the password, hashed as ISO 8859-1 bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

HASHES: Final[Mapping[str, Callable[[bytes], Any]]] = MappingProxyType(
    {"SHA": hashlib.sha1, "MD5": hashlib.md5}
)
"""The digest schemas by their names on the wire, the better first."""


def digest_bytes(schema: str, nonce: str, password: str) -> str:
    """Answer a challenge. Raises KeyError for a schema that is not in ``HASHES``."""
    text = nonce + password
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:
        # Beyond what handsets of the time could type; UTF-8 is what is left.
        data = text.encode("utf-8", "surrogatepass")
    return base64.b64encode(HASHES[schema](data).digest()).decode()
