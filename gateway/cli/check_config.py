"""``imps-gateway check-config FILE``: the check of the start, without starting."""

from __future__ import annotations

import argparse

SUMMARY = "check a configuration file without starting"


def run(arguments: list[str]) -> int:
    """Print ``ok``; faults are raised as ``ConfigFaults`` and become lines."""
    parser = argparse.ArgumentParser(
        prog="imps-gateway check-config", description=SUMMARY, allow_abbrev=False
    )
    parser.add_argument("file", metavar="FILE")
    file = parser.parse_args(arguments).file
    # Knows every plugin, and with them half the program: not needed for --help.
    from gateway.tap import load_config

    load_config(file)
    print("ok")
    return 0
