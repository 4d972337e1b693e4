"""Integers, booleans and times in their text form."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given

from gateway.csp.values import (
    read_boolean,
    read_datetime,
    read_integer,
    write_boolean,
    write_datetime,
)
from tests.csp.strategies import TIMES


def utc(*parts: int) -> datetime.datetime:
    return datetime.datetime(*parts, tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]


SPELLINGS = {
    "20010925T1340": datetime.datetime(2001, 9, 25, 13, 40),
    "20010925T134013": datetime.datetime(2001, 9, 25, 13, 40, 13),
    "20010925T1340Z": utc(2001, 9, 25, 13, 40),
    "20010925T134013Z": utc(2001, 9, 25, 13, 40, 13),
    "20010925t134013z": utc(2001, 9, 25, 13, 40, 13),
    " 20010925T134013Z\n": utc(2001, 9, 25, 13, 40, 13),
    "2001-09-25T13:40:13Z": utc(2001, 9, 25, 13, 40, 13),
    "2001-09-25T13:40:13.250Z": utc(2001, 9, 25, 13, 40, 13),
    "2001-09-25T13:40:13A": utc(2001, 9, 25, 12, 40, 13),
    "2001-09-25T13:40:13M": utc(2001, 9, 25, 1, 40, 13),
    "2001-09-25T13:40:13N": utc(2001, 9, 25, 14, 40, 13),
    "2001-09-25T13:40:13Y": utc(2001, 9, 26, 1, 40, 13),
    "2001-09-25T13:40:13+01:00": utc(2001, 9, 25, 12, 40, 13),
    "2001-09-25T13:40:13+0130": utc(2001, 9, 25, 12, 10, 13),
    "2001-09-25T13:40:13+01": utc(2001, 9, 25, 12, 40, 13),
    "2001-09-25T13:40:13-05:30": utc(2001, 9, 25, 19, 10, 13),
    "2016-12-31T23:59:60Z": utc(2016, 12, 31, 23, 59, 59),
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings_of_times(text: str) -> None:
    """UTC where a zone is named, naive where none is."""
    when = read_datetime(text)
    assert when == SPELLINGS[text]
    assert when.tzinfo is SPELLINGS[text].tzinfo


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "20010925",
        "20010925T13",
        "20010925T134013J",
        "20011325T134013Z",
        "20010925T2540Z",
        "00010101T000000A",
        "99991231T235959Y",
        "20010925T134013ZZ",
        "２００１0925T134013Z",
    ],
)
def test_no_times(text: str) -> None:
    """Nor what a datetime cannot hold."""
    with pytest.raises(ValueError, match="time|month|hour"):
        read_datetime(text)


@given(TIMES)
def test_times_round_trip(when: datetime.datetime) -> None:
    """To the second."""
    assert read_datetime(write_datetime(when)) == when


def test_times_are_written_in_utc() -> None:
    """Whatever zone they are in."""
    zone = datetime.timezone(datetime.timedelta(hours=-5))
    when = datetime.datetime(2001, 9, 25, 20, 0, 1, tzinfo=zone)
    assert write_datetime(when) == "20010926T010001Z"
    assert write_datetime(datetime.datetime(33, 4, 5)) == "00330405T000000"


def test_integers() -> None:
    """Decimal digits and nothing else."""
    assert read_integer(" 007 ") == 7
    assert read_integer("9" * 20) == int("9" * 20)
    for text in ("", "-1", "+1", "1_0", "1.0", "0x1", "²", "9" * 21):
        with pytest.raises(ValueError, match="number"):
            read_integer(text)


def test_booleans() -> None:
    """T and F, as words too."""
    assert [read_boolean(text) for text in ("T", " t", "true")] == [True] * 3
    assert [read_boolean(text) for text in ("F", "f ", "False")] == [False] * 3
    assert write_boolean(True) + write_boolean(False) == "TF"
    for text in ("", "1", "yes"):
        with pytest.raises(ValueError, match="neither"):
            read_boolean(text)
