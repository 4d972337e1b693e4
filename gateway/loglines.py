"""Log events as lines: text for people, or one JSON object a line for machines.

Nothing that comes from outside can begin a line of its own, and telephone numbers are
masked here, whoever logs them.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import IO, Any

from twisted.logger import FileLogObserver, LogEvent, formatEvent, formatTime
from twisted.python.logfile import LogFile

from gateway.log import level_of

FORMATS = ("text", "json")
_NUMBER = re.compile(r"(\+|%2[Bb])\d{5,13}(?=\d\d(?!\d))")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_OWN = frozenset(("time", "level", "subject", "text", "traceback"))
_format = "text"


def set_format(name: str) -> None:
    """Write lines as "text" or as "json" from now on."""
    global _format
    _format = name


def line(event: LogEvent) -> str | None:
    """Write an event in the format that is set; None when its level is too low."""
    level = event.get("log_level")
    namespace = str(event.get("log_namespace") or "-")
    if level is not None and level < level_of(namespace):
        return None
    name = "info" if level is None else level.name
    return (as_json if _format == "json" else as_text)(event, namespace, name)


def as_text(event: LogEvent, namespace: str, level: str) -> str:
    """Write one line for people; only our own defects have more, their traceback."""
    text = _CONTROL.sub(_escaped, _text(event))
    traceback = _traceback(event)
    if traceback:
        text += "\n" + traceback
    return f"{formatTime(event.get('log_time'))} [{namespace}#{level}] {text}\n"


def as_json(event: LogEvent, namespace: str, level: str) -> str:
    """Write one JSON object: time, level, subject, text, and the event's fields."""
    time = datetime.fromtimestamp(event.get("log_time") or 0.0, UTC)
    entry: dict[str, Any] = {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "subject": namespace,
        "text": _text(event),
    }
    # What came by the old way (twisted.python.log) has no fields, only its text.
    if "isError" not in event:
        for key, value in event.items():
            if not key.startswith("log_"):
                entry[f"{key}_" if key in _OWN else key] = _plain(value)
    traceback = _traceback(event)
    if traceback:
        entry["traceback"] = traceback
    return json.dumps(entry) + "\n"


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _masked(str(value))


def _masked(text: str) -> str:
    """Leave of a telephone number its last two digits."""
    return _NUMBER.sub(r"\1...", text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _text(event: LogEvent) -> str:
    if "failure" in event and "isError" in event:  # log.err: its text is a traceback
        return str(event.get("why") or "Unhandled Error")
    return _masked(formatEvent(event))


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if failure is None and "isError" in event:
        failure = event.get("failure")
    return "" if failure is None else _masked(failure.getTraceback()).rstrip()


def to_file(file: IO[Any] | LogFile) -> FileLogObserver:
    """Make an observer that writes to a file."""
    return FileLogObserver(file, line)  # type: ignore[arg-type]
