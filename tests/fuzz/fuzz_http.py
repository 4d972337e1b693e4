"""Fuzz the HTTP reader with atheris; the options are those of libFuzzer.

``python tests/fuzz/fuzz_http.py -max_total_time=60`` runs a minute. The first byte
says where the stream is cut. A crash is any exception, a body above the limit, or a
request that depends on how the bytes are cut.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["plugins"]):
    from tests.plugins.hostile import check_stream

POST = (
    b"POST /csp HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
    b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\nabc"
)
CHUNKED = (
    b"POST /csp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;e=1\r\nabc\r\n0\r\nX: y\r\n\r\n"
)


def one_input(data: bytes) -> None:
    """Check one input."""
    check_stream(data[1:], data[0] if data else 0)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Begin from good requests, else the fuzzer would look for the first long."""
    if len(data) < 8:
        data = (b"\x10" + POST + POST, b"\x40" + CHUNKED, b"\x80" + POST + CHUNKED)[
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
