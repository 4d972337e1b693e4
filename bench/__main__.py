"""``python -m bench [NAME …]``: every line with its anchor; a table and a file.

Each module of this package that has ``measure() -> list[Line]`` takes part. Figures of
different machines do not compare; ratios of one run do.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import bench
from bench.report import Line, save, table


def measures() -> list[str]:
    """Name the modules that measure something, in alphabetical order."""
    names = []
    for module in pkgutil.iter_modules(bench.__path__):
        if module.ispkg or module.name == "__main__":
            continue
        if hasattr(importlib.import_module(f"bench.{module.name}"), "measure"):
            names.append(module.name)
    return sorted(names)


def main(wanted: list[str]) -> int:
    """Measure what is wanted, or everything; print the table, write the file."""
    known = measures()
    for name in wanted:
        if name not in known:
            print(f"no such bench: {name}; there are: {', '.join(known)}")
            return 2
    lines: list[Line] = []
    for name in wanted or known:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        lines += importlib.import_module(f"bench.{name}").measure()
    print(table(lines))
    save(lines, Path(__file__).parent / "results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
