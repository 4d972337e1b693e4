"""The coverage of the requirement rows by tests: ``make conformance``.

Collects the tests, reads their ``requirement`` marks, and prints for each section of
each defining document how many rows are shown by at least one test. Rows that bind
another party than the gateway (``imps-client``, ``core`` …) are counted where a test
shows them, and are not owed.
"""

from __future__ import annotations

import csv
import sys
import textwrap
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

TABLE = Path(__file__).parent.parent / "gateway" / "data" / "requirements.csv"
# The roles of the gateway in the column "binds".
ROLES = frozenset({"imps-server", "ssp", "im-client", "im-server", "all"})


@cache
def requirements() -> dict[str, dict[str, str]]:
    """Return the rows of the requirement table by id, in the order of the file."""
    with TABLE.open(encoding="utf-8", newline="") as lines:
        return {row["id"]: row for row in csv.DictReader(lines)}


def marked_ids(item: pytest.Item) -> list[str]:
    """Return the requirement ids that a test carries."""
    return [str(i) for mark in item.iter_markers("requirement") for i in mark.args]


def owed(row: dict[str, str]) -> bool:
    """Tell whether a row binds one of the gateway's roles."""
    return bool(ROLES & set(row["binds"].split(",")))


class Collector:
    """A pytest plugin that keeps the ids of the collected tests."""

    def __init__(self) -> None:
        self.shown: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Read the marks once collection is over."""
        for item in session.items:
            for requirement in marked_ids(item):
                self.shown[requirement].append(item.nodeid)


def table(shown: dict[str, list[str]]) -> list[str]:
    """Return the lines of the coverage table: by document and section."""
    sections: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in requirements().values():
        sections[row["seed"].split("_")[0], row["section"]].append(row)
    lines = [f"{'document':9} {'section':16} {'owed':>5} {'shown':>6} {'others':>7}"]
    totals = [0, 0, 0]
    for (seed, section), rows in sorted(sections.items()):
        ours = [row for row in rows if owed(row)]
        counts = [
            len(ours),
            sum(row["id"] in shown for row in ours),
            sum(row["id"] in shown for row in rows if not owed(row)),
        ]
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        lines.append(_line(seed, section, counts))
    lines.append(_line("all", "", totals))
    return lines


def _line(seed: str, section: str, counts: list[int]) -> str:
    due, done, others = counts
    return f"{seed:9} {section:16} {due:5} {done:6} {others:7}"


def main() -> int:
    """Collect every test and print the table; unknown ids end with status 1."""
    collector = Collector()
    status = pytest.main(["--collect-only", "-qq", "--no-summary"], plugins=[collector])
    if status != pytest.ExitCode.OK:
        return int(status)
    print("\n".join(table(collector.shown)))
    missing = [
        row_id
        for row_id, row in requirements().items()
        if owed(row) and row_id not in collector.shown
    ]
    if missing:
        text = f"not shown by a test: {' '.join(missing)}"
        print(textwrap.fill(text, 88, break_on_hyphens=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
