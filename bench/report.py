"""The lines of the bench: a measured figure, its anchor, their ratio and the goal."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure. ``ratio`` is value by anchor; ``goal`` is what it should be."""

    id: str
    what: str
    value: float
    unit: str
    anchor: str = ""
    anchor_value: float = 0.0
    goal: str = ""
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Value by anchor; None where there is no anchor."""
        return self.value / self.anchor_value if self.anchor_value else None


def table(lines: Sequence[Line]) -> str:
    """Write the lines for people."""
    rows = [("id", "what", "measured", "anchor", "ratio", "goal", "note")]
    for line in lines:
        anchor = f"{line.anchor} {line.anchor_value:,.1f}" if line.anchor else ""
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        measured = f"{line.value:,.1f} {line.unit}"
        rows.append((line.id, line.what, measured, anchor, ratio, line.goal, line.note))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def save(lines: Sequence[Line], path: Path) -> None:
    """Write the lines for programs, with the machine they were measured on."""
    machine = {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "system": platform.release(),
    }
    found = [{**asdict(line), "ratio": line.ratio} for line in lines]
    path.write_text(
        json.dumps({"machine": machine, "lines": found}, indent=2) + "\n",
        encoding="utf-8",
    )
