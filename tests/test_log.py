"""The log: levels by subject, lines of two kinds, what is told of peers."""

from __future__ import annotations

import importlib
import io
import json
import signal
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.python import log as old_log
from twisted.python.failure import Failure

from gateway import log, loglines, tap
from gateway.config import Config, ConfigFaults, parse
from gateway.log import PEERS, SUBJECTS, Complaints, Logger, set_levels


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave level and format as they were."""
    yield
    set_levels("info")
    loglines.set_format("text")
    log._messages.clear()


class Part:
    """A part of the program with a logger of its own."""

    _log = Logger()


def named(namespace: str) -> Logger:
    """Make the logger of another part."""
    return Logger(namespace)


# -- levels


def test_a_logger_is_named_after_its_class_and_made_once():
    assert Part._log.namespace == f"{__name__}.Part"
    assert Part()._log is Part._log


def test_below_the_level_nothing_is_made():
    set_levels("warn")
    with capturedLogs() as events:
        Part._log.info("nobody reads {this}", this="")
        Part._log.debug("nobody reads {this}", this="")
        Part._log.warn("somebody reads this")
    assert [event["log_level"] for event in events] == [LogLevel.warn]


def test_a_subject_has_a_level_of_its_own():
    loggers = {
        name: named(name)
        for name in (
            "gateway.services.ua.UserAgent",
            "gateway.services.sap.Sap",
            "gateway.store.sql.SqlStore",
            "gateway.store.writer.Writer",
            "plugins.sip.UdpLink",
            "plugins.sip2.Other",
        )
    }
    set_levels(
        "warn",
        {"sip": "debug", "gateway.store": "error", "gateway.store.writer": "info"},
    )
    assert {name for name, found in loggers.items() if found.debugging} == {
        "gateway.services.ua.UserAgent",
        "plugins.sip.UdpLink",
    }
    assert log.level_of("gateway.store.sql.SqlStore") == LogLevel.error
    assert log.level_of("gateway.store.writer.Writer") == LogLevel.info
    assert log.level_of("plugins.sip2.Other") == LogLevel.warn
    late = named("plugins.sip.SipService")
    assert late.debugging
    set_levels("info")
    assert not any(found.debugging for found in (late, *loggers.values()))


@pytest.mark.parametrize("subjects", [("sip", "plugins.sip"), ("plugins.sip", "sip")])
def test_a_dotted_name_counts_before_a_word(subjects):
    levels = {"sip": "debug", "plugins.sip": "error"}
    set_levels("info", {subject: levels[subject] for subject in subjects})
    assert log.level_of("plugins.sip.UdpLink") == LogLevel.error
    assert log.level_of("gateway.services.ua.UserAgent") == LogLevel.debug


@pytest.mark.parametrize("name", [n for names in SUBJECTS.values() for n in names])
def test_every_word_means_parts_that_log(name):
    module = importlib.import_module(name)
    prefix = f"{name}."
    for child in ("sql", "writer") if name == "gateway.store" else ():
        importlib.import_module(prefix + child)
    assert module
    assert any(found.namespace.startswith(prefix) for found in log._loggers)


# -- configuration


def configured(section: dict[str, Any]) -> Config:
    document = {"gateway": {"domain": "example.com"}, "log": section}
    return parse(document, Path("/etc/gateway.toml"))


def test_the_section_is_read():
    section = {
        "level": "warn",
        "format": "json",
        "levels": {"sip": "debug", "gateway.services.sap": "info"},
    }
    found = configured(section).log
    assert (found.level, found.format, found.levels) == tuple(section.values())
    assert (configured({}).log.format, configured({}).log.levels) == ("text", {})


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ({"format": "xml"}, "log.format: must be one of 'text', 'json', not 'xml'"),
        ({"levels": "debug"}, "log.levels: must be a table: [log.levels]"),
        (
            {"levels": {"spi": "debug"}},
            "log.levels.spi: unknown name; the nearest known name is 'sip'",
        ),
        (
            {"levels": {"sip": "loud"}},
            "log.levels.sip: must be one of 'debug', 'info', 'warn', 'error', "
            "'critical', not 'loud'",
        ),
    ],
)
def test_faults_are_named(section, fault):
    with pytest.raises(ConfigFaults) as caught:
        configured(section)
    assert [str(found) for found in caught.value.faults] == [fault]


# -- one id for a message


def test_a_call_id_gives_the_message_once_they_were_named_together():
    set_levels("debug")
    with capturedLogs() as events:
        Part._log.debug("came", call_id="c1")
        Part._log.debug("accepted", call_id="c1", message="m1")
        Part._log.debug("answered", call_id="c1")
        Part._log.debug("no SIP")
    assert [event.get("message") for event in events] == ["c1", "m1", "m1", None]


def test_what_is_known_of_call_ids_is_bounded():
    set_levels("debug")
    with capturedLogs():
        for number in range(log._CALLS + 10):
            Part._log.debug("accepted", call_id=f"c{number}", message="m")
    assert len(log._messages) == log._CALLS


def test_a_transaction_is_named_by_a_part_of_its_session():
    set_levels("debug")

    def handled() -> None:
        Part._log.begins("secretsession", "7", "SendMessage-Request")
        Part._log.ends(type("Answer", (), {"NAME": "Status"}))

    with capturedLogs() as events:
        copy_context().run(handled)
    assert [event["transaction"] for event in events] == ["secret/7", "secret/7"]
    assert log.transaction.get() == "-"


def test_of_a_transaction_nothing_is_kept_when_nobody_reads():
    def handled() -> str:
        Part._log.begins("secretsession", "7", "SendMessage-Request")
        return log.transaction.get()

    assert copy_context().run(handled) == "-"


# -- faults of peers


def told(clock: Clock, seconds: float) -> list[str]:
    """Let time pass; return what is logged then."""
    with capturedLogs() as events:
        clock.pump([1.0] * int(seconds))
    return [event["log_format"].format(**event) for event in events]


def test_a_fault_is_told_once_a_minute_with_a_count():
    clock = Clock()
    complaints = Complaints(Part._log, clock)
    with capturedLogs() as events:
        for number in range(5):
            complaints.about("10.0.0.1", "{host}: {no}", host="10.0.0.1", no=number)
        complaints.about("10.0.0.2", "{host}: {no}", host="10.0.0.2", no=0)
    assert [event["host"] for event in events] == ["10.0.0.1", "10.0.0.2"]
    assert told(clock, 59) == []
    assert told(clock, 1) == ["10.0.0.1: 4 (4 more within a minute)"]
    # Who goes on is told once a minute, who stops is forgotten.
    complaints.about("10.0.0.1", "{host}: {no}", host="10.0.0.1", no=9)
    assert told(clock, 59) == []
    assert told(clock, 1) == ["10.0.0.1: 9 (1 more within a minute)"]
    assert told(clock, 120) == []
    assert len(complaints) == 0
    assert clock.getDelayedCalls() == []
    with capturedLogs() as events:
        complaints.about("10.0.0.1", "again")
    assert len(events) == 1


def test_a_flood_from_everywhere_is_only_counted():
    clock = Clock()
    complaints = Complaints(Part._log, clock)
    with capturedLogs() as events:
        for number in range(PEERS + 500):
            complaints.about(f"host{number}", "rubbish")
    assert len(events) == len(complaints) == PEERS
    assert told(clock, 60) == ["500 more faults of other peers within a minute"]
    assert len(complaints) == 0


def test_at_the_end_what_was_held_back_is_told():
    clock = Clock()
    complaints = Complaints(Part._log, clock)
    complaints.stop()
    for _ in range(3):
        complaints.about("host", "rubbish")
    with capturedLogs() as events:
        complaints.stop()
    assert [event["more"] for event in events] == [2]
    assert clock.getDelayedCalls() == []


# -- lines


def written(*calls: tuple[str, dict[str, Any]]) -> str:
    """Log events at level warn; return what an observer writes of them."""
    file = io.StringIO()
    observer = loglines.to_file(file)
    with capturedLogs() as events:
        for format, fields in calls:
            Part._log.warn(format, **fields)
    for event in events:
        observer(event)
    return file.getvalue()


def test_text_is_one_line_whatever_a_peer_sends():
    hostile = "x\r\n2026 [a#info] login failed: user=root\x1b[2J\u2028\ud800"
    lines = written(("said {what}", {"what": hostile})).splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(
        r"said x\r\n2026 [a#info] login failed: user=root\x1b[2J\u2028\ud800"
    )
    assert f" [{__name__}.Part#warn] said " in lines[0]
    assert lines[0].encode()


def test_json_is_one_object_a_line():
    loglines.set_format("json")
    fields = {"what": "x\ny", "time": 3, "peer": ("10.0.0.1", 5), "none": None}
    entry = json.loads(written(("said {what}", fields)))
    time = entry.pop("time")
    assert time.endswith("Z")
    assert time[10] == "T"
    assert entry == {
        "level": "warn",
        "subject": f"{__name__}.Part",
        "text": "said x\ny",
        "what": "x\ny",
        "time_": 3,
        "peer": "('10.0.0.1', 5)",
        "none": None,
    }


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("wv:+358401234567@example.com", "wv:+...67@example.com"),
        ("sip:%2B358401234567@example.com", "sip:%2B...67@example.com"),
        ("tel:+3584012 at 10:20:30+0200", "tel:+...12 at 10:20:30+0200"),
    ],
)
def test_telephone_numbers_are_masked(format, number, shown):
    loglines.set_format(format)
    line = written(("{user} failed", {"user": number}))
    assert f"{shown} failed" in line
    assert number not in line


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_defect_is_shown_with_its_traceback(format):
    loglines.set_format(format)
    with capturedLogs() as events:
        try:
            raise KeyError("+358401234567")
        except KeyError:
            Part._log.failure("it failed")
        old_log.err(Failure(ValueError("old")), "the old way")
    lines = [loglines.line(event) or "" for event in events]
    assert "it failed" in lines[0]
    assert "the old way" in lines[1]
    assert all("Traceback" in line for line in lines)
    assert "+...67" in lines[0]
    assert "358401" not in lines[0]


def test_the_level_holds_for_what_others_log_too():
    set_levels("warn", {"twisted": "error"})
    with capturedLogs() as events:
        old_log.msg("starting")
    assert [loglines.line(event) for event in events] == [None]
    event = {"log_namespace": "twisted.web", "log_level": LogLevel.warn}
    assert loglines.line({**event, "log_format": "hm"}) is None


# -- where the lines go


def options(**given: Any) -> dict[str, Any]:
    none = {"logfile": None, "nodaemon": 1, "syslog": 0, "logger": None}
    return none | given


@pytest.mark.parametrize(
    "given",
    [{"syslog": 1}, {"logger": "a.b"}, {"logfile": "-", "nodaemon": 0}],
)
def test_what_twistd_was_told_goes_before(given):
    assert tap._observer(options(**given), Clock()) is None


def test_a_log_file_is_written_and_rotated_by_a_signal(tmp_path, monkeypatch):
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(signal, "getsignal", handlers.get)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    clock: Any = Clock()
    clock.callFromThread = lambda call: call()
    name = tmp_path / "gateway.log"
    observer = tap._observer(options(logfile=str(name), nodaemon=0), clock)
    event = {"log_level": LogLevel.info, "log_format": "one"}
    observer(event)
    assert name.read_text().endswith("[-#info] one\n")
    (handler,) = handlers.values()
    handler(0, None)
    observer(event | {"log_format": "two"})
    assert name.read_text().endswith("[-#info] two\n")
    assert "one" in (tmp_path / "gateway.log.1").read_text()
    observer._outFile.close()


def test_in_the_foreground_standard_output_is_the_log(capsys):
    tap._observer(options(), Clock())({"log_format": "hello"})
    assert capsys.readouterr().out.endswith("[-#info] hello\n")
