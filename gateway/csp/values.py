"""Values inside elements: integers, booleans and times, as text.

Reading is lenient (blanks around, either case, every spelling of times that clients are
known to use), writing has one form (CSP data types; ISO 8601 basic).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.csp.schema import Kind

_BOOLEANS = {"T": True, "F": False, "TRUE": True, "FALSE": False}
_MAX_DIGITS = 20
_DATETIME = re.compile(
    r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})[Tt ]"
    r"([0-9]{2}):?([0-9]{2})(?::?([0-9]{2})(?:[.,][0-9]+)?)?"
    r" ?(?:([A-IK-Za-ik-z])|([+-][0-9]{2}):?([0-9]{2})?)?\Z"
)
_LETTERS = "ABCDEFGHIKLMNOPQRSTUVWXYZ"
_HOURS = (*range(1, 13), *range(-1, -13, -1), 0)
_ZONES = dict(zip(_LETTERS, _HOURS, strict=True))


def read_integer(text: str) -> int:
    """The number that decimal digits say. Raises ValueError on anything else."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _MAX_DIGITS:
        raise ValueError("not a number")
    return int(digits)


def read_boolean(text: str) -> bool:
    """True for ``T``, False for ``F``, in either case. Raises ValueError otherwise."""
    try:
        return _BOOLEANS[text.strip().upper()]
    except KeyError:
        raise ValueError("neither T nor F") from None


def read_datetime(text: str) -> datetime.datetime:
    """The time that ISO 8601 text says: in UTC when it names a zone, else naive.

    Takes the basic and the extended form, with or without seconds, a military zone
    letter (``A`` is one hour ahead of ``Z``; there is no ``J``) or an offset. Raises
    ValueError on anything else.
    """
    found = _DATETIME.match(text.strip())
    if found is None:
        raise ValueError("not a time")
    year, month, day, hour, minute, second, zone, hours, minutes = found.groups()
    when = datetime.datetime(
        int(year),
        int(month),
        int(day),
        int(hour),
        int(minute),
        min(int(second or 0), 59),  # a leap second has no place in datetime
    )
    if zone is None and hours is None:
        return when
    if zone is not None:
        offset = datetime.timedelta(hours=_ZONES[zone.upper()])
    else:
        sign = -1 if hours.startswith("-") else 1
        offset = datetime.timedelta(hours=int(hours), minutes=sign * int(minutes or 0))
    try:
        return (when - offset).replace(tzinfo=datetime.UTC)
    except OverflowError:
        raise ValueError("not a time") from None


def write_datetime(when: datetime.datetime) -> str:
    """``YYYYMMDDThhmmssZ``, without the ``Z`` when ``when`` names no zone."""
    zone = ""
    if when.tzinfo is not None:
        when = when.astimezone(datetime.UTC)
        zone = "Z"
    return (
        f"{when.year:04}{when.month:02}{when.day:02}"
        f"T{when.hour:02}{when.minute:02}{when.second:02}{zone}"
    )


def write_boolean(value: bool) -> str:
    """``T`` or ``F``."""
    return "T" if value else "F"


READERS: Mapping[Kind, Callable[[str], Any]] = {
    Kind.INTEGER: read_integer,
    Kind.BOOLEAN: read_boolean,
    Kind.DATETIME: read_datetime,
}
"""How to read the text of each kind that is not text itself; ValueError if it is none.

An empty element of these kinds counts as left out: samples of 1.1 have empty InUse.
"""

WRITERS: Mapping[Kind, Callable[[Any], str]] = {
    Kind.INTEGER: str,
    Kind.BOOLEAN: write_boolean,
    Kind.DATETIME: write_datetime,
}
"""How to write a value of each kind that is not text itself."""
