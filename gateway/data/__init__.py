"""Tables of the specifications, as data; ``rows`` reads one."""

from __future__ import annotations

import csv
import importlib.resources
import io


def rows(name: str) -> list[dict[str, str]]:
    """The rows of the table ``name`` (``status-codes`` …), each by column name."""
    table = importlib.resources.files(__name__).joinpath(f"{name}.csv")
    text = table.read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))
