"""Messages that others wrote, read from beside the checkout where they are.

They are not ours to copy. Where they are absent, one test says so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.csp import xmlsyntax
from gateway.csp.envelope import Faulty
from gateway.csp.xmlsyntax import decode

VECTORS = Path(__file__).parents[3] / "shared" / "reference" / "csp" / "vectors"
PATHS = sorted(VECTORS.glob("libwbxml-csp11/*.xml")) + sorted(
    VECTORS.glob("aosp/*.xml")
)

if PATHS:

    @pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
    def test_third_party_vectors_are_read(path: Path) -> None:
        """Without fault, by markup as by tree."""
        body = path.read_bytes()
        message = decode(body)
        assert xmlsyntax._read(body) == message
        assert decode(body) == message
        assert not any(isinstance(t.primitive, Faulty) for t in message.transactions)

else:

    def test_third_party_vectors_absent() -> None:
        """There is nothing to read: the folder itself is not there."""
        assert not VECTORS.exists()
