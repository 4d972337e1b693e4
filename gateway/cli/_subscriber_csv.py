"""Subscribers as lines of CSV: the columns, what is allowed in them, faults by line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TextIO, TypeVar

from gateway.configtable import nearest
from gateway.errors import Malformed
from gateway.identity import Domains
from gateway.store import Clash, Subscriber

T = TypeVar("T")

COLUMNS = (
    "user-id",
    "password",
    "aor",
    "sip-user",
    "sip-password",
    "msisdn",
    "enabled",
)
_NEEDED = ("user-id", "password")
_MSISDN = re.compile(r"\+[0-9]{7,15}\Z")
_LONGEST = 512
_STEP = 1000
_BAR = 40

Fault = tuple[int, str]
"""A line's number, from 1, and what is wrong with it."""


def msisdn(text: str) -> str | None:
    """Read a telephone number, empty for none; raises ``Malformed``."""
    number = "".join(each for each in text if each not in "-.() ")
    if not number:
        return None
    if not _MSISDN.match(number):
        raise Malformed("msisdn: a mobile number is + and 7 to 15 digits")
    return number


def subscriber(fields: Mapping[str, str], domains: Domains) -> Subscriber:
    """Make a subscriber of columns; raises ``Malformed`` with the column's name.

    An empty ``aor`` is the SIP spelling of the user id; ``enabled`` is yes unless no.
    """
    for name in ("user-id", "aor", "password", "sip-user", "sip-password"):
        _check_plain(name, fields.get(name, ""))
    user = _read("user-id", lambda: domains.address(fields["user-id"]))
    if not user.user or user.resource:
        raise Malformed("user-id: this is no user's address")
    if user.domain != domains.home:
        raise Malformed(f"user-id: the domain is not {domains.home}")
    aor_text = fields.get("aor", "")
    aor = _read("aor", lambda: domains.key(aor_text) if aor_text else domains.aor(user))
    if not fields["password"]:
        raise Malformed("password: it is empty")
    enabled = fields.get("enabled", "").lower()
    if enabled not in ("", "yes", "no"):
        raise Malformed("enabled: yes or no")
    return Subscriber(
        aor=aor,
        user_id=user.key,
        password=fields["password"],
        sip_user=fields.get("sip-user", ""),
        sip_password=fields.get("sip-password", ""),
        msisdn=msisdn(fields.get("msisdn", "")),
        enabled=enabled != "no",
    )


def _read(name: str, function: Callable[[], T]) -> T:
    try:
        return function()
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from None


def _check_plain(name: str, text: str) -> None:
    # The value itself must not be shown.
    if len(text) > _LONGEST:
        raise Malformed(f"{name}: it is longer than {_LONGEST} characters")
    if not text.isprintable():
        raise Malformed(f"{name}: it holds a control character")


def describe(clash: Clash) -> str:
    """Say what clashes."""
    return f"{clash.field.replace('_', '-')}: {clash.value} is another subscriber's"


def clash_faults(
    clashes: Iterable[Clash], lines: Sequence[tuple[int, Subscriber]]
) -> list[Fault]:
    """Name the line of each clash, and the other line if that is in the file too."""
    first: dict[tuple[str, str | None], int] = {}
    for line, each in lines:
        for name in ("aor", "user_id", "msisdn"):
            first.setdefault((name, getattr(each, name)), line)
    faults = []
    for clash in clashes:
        line = lines[clash.index][0]
        earlier = first[clash.field, clash.value]
        text = describe(clash)
        if earlier != line:
            text = text.replace("another subscriber's", f"also on line {earlier}")
        faults.append((line, text))
    return faults


def read(
    data: bytes, domains: Domains, progress: Callable[[int, int], None]
) -> tuple[list[tuple[int, Subscriber]], list[Fault]]:
    """Read a CSV file whose first line names the columns.

    ``progress`` is told how many of how many lines are read. Returned are the
    subscribers with their line numbers, and the faults of all other lines.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [(data.count(b"\n", 0, error.start) + 1, "this is not UTF-8")]
    total = text.count("\n") + 1
    rows = _rows(text)
    line, names = next(rows, (1, []))
    if isinstance(names, str):
        return [], [(line, names)]
    names = [name.strip().lower().replace("_", "-") for name in names]
    if faults := _name_faults(names):
        return [], [(line, fault) for fault in faults]
    lines: list[tuple[int, Subscriber]] = []
    found: list[Fault] = []
    for count, (line, row) in enumerate(rows):
        if count % _STEP == 0 and line < total:
            progress(line, total)
        if isinstance(row, str):
            found.append((line, row))
            continue
        try:
            lines.append((line, _line(names, row, domains)))
        except Malformed as error:
            found.append((line, str(error)))
    progress(total, total)
    return lines, found


def _rows(text: str) -> Iterator[tuple[int, list[str] | str]]:
    """Give each row that is not empty with its first line's number, or its fault."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, str(error)
            continue
        if row:
            yield line, row


def progress(stream: TextIO) -> Callable[[int, int], None]:
    """Return what draws a bar on a terminal, and nothing elsewhere."""
    if not stream.isatty():
        return lambda _done, _total: None

    def draw(done: int, total: int) -> None:
        filled = _BAR * done // total
        bar = "#" * filled + "." * (_BAR - filled)
        stream.write(f"\r[{bar}] {done}/{total} lines")
        if done == total:
            stream.write("\n")
        stream.flush()

    return draw


def _name_faults(names: Sequence[str]) -> list[str]:
    if not names:
        return ["the file is empty; its first line names the columns"]
    faults = [
        f"no column {name!r}{nearest(name, COLUMNS)}"
        for name in names
        if name not in COLUMNS
    ]
    faults += [f"the column {name} is missing" for name in _NEEDED if name not in names]
    if len(set(names)) < len(names):
        faults.append("a column is named twice")
    return faults


def _line(names: Sequence[str], row: Sequence[str], domains: Domains) -> Subscriber:
    if len(row) != len(names):
        raise Malformed(f"{len(row)} columns where {len(names)} are named")
    return subscriber(dict(zip(names, row, strict=True)), domains)


def write(subscribers: Iterable[Subscriber], file: TextIO) -> None:
    """Write subscribers so that ``read`` gets them back."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in subscribers:
        writer.writerow(
            (
                each.user_id,
                each.password,
                each.aor,
                each.sip_user,
                each.sip_password,
                each.msisdn or "",
                "yes" if each.enabled else "no",
            )
        )
