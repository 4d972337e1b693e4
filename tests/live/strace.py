"""What the service asks of the kernel, in the order in which the kernel did it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.live.gateway import GatewayService
from tests.live.programs import PATIENCE

_CALLS = "pwrite64,fdatasync,fsync,sendto,sendmsg,recvfrom,recvmsg"
# A page of the store and its neighbours fit in: texts are looked for in them.
_LONGEST = 16384
_LINE = re.compile(
    r"^(?P<task>\d+) +"
    r"(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*)$"
)


class Call(NamedTuple):
    """One system call: when it began and ended, as places in the trace."""

    name: str
    text: str
    began: int
    ended: int


class TracedGateway(GatewayService):
    """The service under strace; the trace is complete once it has ended."""

    def __init__(self, folder: Path, **options: object) -> None:
        super().__init__(folder, **options)  # type: ignore[arg-type]
        self.trace = folder / "strace.txt"
        self.command = [
            *("strace", "-f", "-y", "-s", str(_LONGEST), "-e", f"trace={_CALLS}"),
            *("-e", "signal=none", "-o", str(self.trace)),
            *self.command,
        ]

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """End the service; strace, which a signal does not end, ends with it."""
        self.signal(number)
        return super().stop(0, patience)

    def calls(self) -> list[Call]:
        """Return the system calls, in the order of their beginning."""
        lines = self.trace.read_text(encoding="utf-8", errors="replace").splitlines()
        return sorted(_calls(lines), key=lambda call: call.began)


def _calls(lines: list[str]) -> Iterator[Call]:
    under_way: dict[str, tuple[str, str, int]] = {}
    for place, line in enumerate(lines):
        found = _LINE.match(line)
        if found is None:
            continue
        task, rest = found["task"], found["rest"]
        if found["resumed"] is not None:
            name, text, began = under_way.pop(task)
            yield Call(name, text + rest, began, place)
        elif rest.endswith("<unfinished ...>"):
            under_way[task] = found["name"], rest, place
        else:
            yield Call(found["name"], rest, place, place)
