"""Fuzz the XML decoder: ``python tests/fuzz/fuzz_csp_xml.py -max_total_time=60``.

Any exception but the decoder's own ends the run, as does a message that is read in two
ways. Needs atheris (the extra ``fuzz``); seeds are the project's own vectors.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway.csp"]):
    from gateway.csp import xmlsyntax
    from gateway.csp.envelope import Faulty
    from gateway.errors import Malformed

VECTORS = Path(__file__).parents[1] / "vectors" / "own"


def read(body: bytes) -> object:
    """What the decoder makes of ``body``: a message, or the error's class."""
    try:
        return xmlsyntax.decode(body)
    except Malformed as error:
        return type(error)


def test_one_input(data: bytes) -> None:
    """Read twice (the second time by the markup), and once by the tree."""
    first = read(data)
    if read(data) != first:
        raise AssertionError("a second reading differs")
    if isinstance(first, type) or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return
    if b"encoding" not in data and xmlsyntax._read(data) != first:
        raise AssertionError("markup and tree differ")
    transactions = getattr(first, "transactions", ())
    if any(isinstance(t.primitive, Faulty) for t in transactions):
        return
    try:
        xmlsyntax.encode(first)  # type: ignore[arg-type]
    except ValueError:
        return


def main() -> None:
    """Run until the time is over; the corpus is kept nowhere."""
    with tempfile.TemporaryDirectory() as corpus:
        for path in VECTORS.glob("*.xml"):
            (Path(corpus) / path.name).write_bytes(path.read_bytes())
        atheris.Setup([*sys.argv, corpus], test_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
