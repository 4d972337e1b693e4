"""The CSP codec beside lxml's bare parse of the same bytes (run as a script).

Figures are microseconds, best of many short runs; the ratios are what counts.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lxml import etree

from gateway.csp import xmlsyntax
from gateway.csp.xmlsyntax import decode, encode

VECTORS = Path(__file__).parents[1] / "tests" / "vectors" / "own"
RUNS, CALLS = 60, 1000


def microseconds(call: Callable[[], object]) -> float:
    """The time of one call."""
    return min(timeit.repeat(call, number=CALLS, repeat=RUNS)) / CALLS * 1e6


def main() -> None:
    """Print a line for each message: decode, by markup and by tree, and encode."""
    print(f"{'message':<32}{'bytes':>6}{'lxml':>8}{'decode':>8}{'ratio':>7}", end="")
    print(f"{'by tree':>9}{'ratio':>7}{'encode':>8}")
    for name in (
        "16-send-message-request-csp12",
        "17-send-message-response-csp12",
        "14-new-message-csp12",
        "13-polling-request-csp12",
        "20-presence-notification-csp12",
    ):
        body = (VECTORS / f"{name}.xml").read_bytes()
        message = decode(body)
        bare = microseconds(partial(etree.fromstring, body))
        known = microseconds(partial(decode, body))
        tree = microseconds(partial(xmlsyntax._read, body))
        out = microseconds(partial(encode, message))
        print(f"{name:<32}{len(body):>6}{bare:>8.2f}{known:>8.2f}", end="")
        print(f"{known / bare:>7.2f}{tree:>9.2f}{tree / bare:>7.2f}{out:>8.2f}")


if __name__ == "__main__":
    main()
