"""SIP status codes ⇄ CSP status codes: ``data/status-map.csv`` and its lookup.

The table has one row a direction, code and context; the context is a SIP method or
"any". A code without a row is treated as the first of its class (RFC 3261 8.1.3.2).
"""

from __future__ import annotations

import csv
import re
from functools import lru_cache
from importlib.resources import files

from gateway.csp.envelope import Version

_RANGE = re.compile(r"(\d{3})-(\d{3})\Z")
UNDELIVERED = 410
"""Unable to deliver: the next hop wants something that was not done."""


def _codes(text: str) -> list[int]:
    """Read ``404``, ``180-183`` or ``428/436``; words give nothing."""
    if match := _RANGE.match(text):
        return list(range(int(match[1]), int(match[2]) + 1))
    return [int(part) for part in text.split("/") if part.isdigit()]


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, int, str], int]:
    """Read the rows as (direction, code, method or "any") → code on the other side."""
    table: dict[tuple[str, int, str], int] = {}
    text = files("gateway.data").joinpath("status-map.csv").read_text("utf-8")
    for row in csv.DictReader(text.splitlines()):
        direction, ours, theirs = row["direction"], "sip_or_msrp_or_imdn", "csp"
        if direction == "IMPS->SIP":
            ours, theirs = theirs, ours
        answer = _codes(row[theirs])
        if not answer:
            continue
        context = row["context"]
        words = [context.split()[0]] if context.startswith("any") else []
        words += [
            w for w in re.split(r"[ ,/]+", context) if w.isupper() and w.isalpha()
        ]
        if "several recipients" in context:
            words = ["several"]
        elif "group" in context or "login" in context:
            words = [f"{word}:{context.split()[-1]}" for word in words]
        for code in _codes(row[ours]):
            for word in words:
                table.setdefault((direction, code, word), answer[0])
    return table


def to_csp(
    status: int, method: str, version: Version = Version.V1_2, *, several: bool = False
) -> int:
    """Give the CSP code for a SIP final answer to ``method``.

    ``several`` says that the code goes into a DetailedResult beside others. Handsets of
    1.1 and 1.2 take 202 for an error, so they get 200 (status-map, row 202). Rows that
    say how to go on (follow a redirect, publish anew) have code 200; who asks here did
    not go on, so a failure never becomes a success: 410 (row 301).
    """
    table = _table()
    for code in (status, status // 100 * 100):
        for context in ("several", method, "any") if several else (method, "any"):
            found = table.get(("SIP->IMPS", code, context))
            if found is not None:
                if status >= 300 and found < 300:
                    return UNDELIVERED
                if found == 202 and version < Version.V1_3:
                    return 200
                return found
    return 500


def to_sip(code: int, method: str) -> int:
    """Give the SIP status for a CSP code that ends a SIP request."""
    table = _table()
    for context in (method, "any"):
        found = table.get(("IMPS->SIP", code, context))
        if found is not None:
            return found
    return 500
