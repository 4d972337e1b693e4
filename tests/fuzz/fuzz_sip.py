"""Fuzz the SIP parsers with atheris; the options are those of libFuzzer.

``python tests/fuzz/fuzz_sip.py -max_total_time=60`` runs a minute. The first byte
chooses between datagram and stream. A crash is any exception but the parser's own, or
a message that does not read as it was written.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["gateway"]):
    from tests.sip.hostile import check_datagram, check_stream

from tests.sip.samples import MESSAGE, OK


def one_input(data: bytes) -> None:
    """Check one input."""
    choice, rest = data[:1], data[1:]
    if choice < b"\x80":
        check_datagram(rest)
    else:
        check_stream(rest[2:], list(rest[:2]))


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Begin from good messages, else the fuzzer would look for the first long."""
    if len(data) < 8:
        data = (b"\x00" + MESSAGE, b"\x00" + OK, b"\xff\x10\x80" + MESSAGE + OK)[
            seed % 3
        ]
    changed: bytes = atheris.Mutate(data, max_size)
    return changed


def main() -> None:
    """Run until the time that the command line gives is over."""
    options = ["-max_len=4096", *sys.argv[1:]]
    atheris.Setup([sys.argv[0], *options], one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
