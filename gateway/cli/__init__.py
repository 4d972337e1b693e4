"""``imps-gateway COMMAND …``: the operator's and the tester's command line.

A command is one module of this package: ``check-config`` is ``check_config``. Each has
``SUMMARY``, the line that ``--help`` shows, and ``run(arguments) -> int``, whose result
is the exit status. Modules that open with an underscore are no commands.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from gateway import __version__
from gateway.configtable import ConfigFaults, nearest
from gateway.errors import ConfigError

USAGE_FAULT = 2
_INTERRUPTED = 130


def commands() -> list[str]:
    """Name the commands that exist, in alphabetical order."""
    return sorted(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    )


def _module(command: str) -> ModuleType:
    # Imported when asked for: check-config need not wait for lxml and SQLAlchemy.
    return importlib.import_module(f"{__name__}.{command.replace('-', '_')}")


def usage() -> str:
    """Write what ``--help`` shows: each command with its one line."""
    lines = ["usage: imps-gateway COMMAND …", "", "commands:"]
    lines += [f"  {name:14}{_module(name).SUMMARY}" for name in commands()]
    lines += ["", "`imps-gateway COMMAND --help` tells more about one of them."]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status: 0 done, 1 failed, 2 misused."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        sys.stderr.write(usage())
        return USAGE_FAULT
    command, *rest = arguments
    if command in ("--help", "-h", "help"):
        sys.stdout.write(usage())
        return 0
    if command == "--version":
        sys.stdout.write(f"imps-gateway {__version__}\n")
        return 0
    if command not in commands():
        hint = nearest(command, commands())
        sys.stderr.write(f"imps-gateway: no command {command!r}{hint}\n")
        return USAGE_FAULT
    return _run(command, rest)


def _run(command: str, arguments: list[str]) -> int:
    try:
        status: int = _module(command).run(arguments)
        sys.stdout.flush()
    except (ConfigFaults, ConfigError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # `imps-gateway … | head`: nobody reads on, and the interpreter's own flush at
        # exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
