"""Tables of the specifications, as data; ``rows`` reads one."""

from __future__ import annotations

import csv
import importlib.resources


def rows(name: str) -> list[dict[str, str]]:
    """The rows of the table ``name`` (``status-codes`` …), each by column name."""
    table = importlib.resources.files(__name__).joinpath(f"{name}.csv")
    with table.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
