"""Whose certificates the terminal commands believe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.ssl import Certificate, trustRootFromCertificates


def trust_root(ca: Path | None) -> Any:
    """Make a trust root of one PEM file; None stands for the system's own.

    Raises OSError for a file that cannot be read.
    """
    if ca is None:
        return None
    return trustRootFromCertificates([Certificate.loadPEM(ca.read_bytes())])
