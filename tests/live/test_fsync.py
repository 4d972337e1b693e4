"""No acknowledgement leaves before what it acknowledges is on the disk.

strace shows it on the real process: the write that carries the text to the log of the
database, the completed fdatasync of that log, and only then the answer.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.live.strace import Call, TracedGateway

pytestmark = pytest.mark.component("strace")
MESSAGES = 5


@pytest.fixture
def traced(stage):
    """Start the service under strace, with a hold that is over at once."""
    return stage.start(
        TracedGateway(stage.folder, hold=1, subscribers=("carol", "dave", "bob"))
    )


def first(
    calls: list[Call], wanted: Callable[[Call], bool], after: int, what: str
) -> Call:
    """Return the first call that is wanted, begun after a place in the trace."""
    for call in calls:
        if call.began > after and wanted(call):
            return call
    raise AssertionError(f"{what} is not in the trace behind line {after}")


def is_log_write(call: Call) -> bool:
    """Tell whether a call writes to SQLite's write-ahead log."""
    return call.name == "pwrite64" and "gateway.db-wal>" in call.text


def synced_after(calls: list[Call], place: int) -> int:
    """Return where the first sync of the log that began after a place was done."""

    def syncs(call: Call) -> bool:
        return call.name in ("fdatasync", "fsync") and "gateway.db-wal>" in call.text

    call = first(calls, syncs, place, "a sync of the log")
    assert call.text.endswith("= 0"), call
    return call.ended


def kept_before_answered(
    calls: list[Call], asked: str, stored: str, *answered: str
) -> None:
    """Follow one request: its arrival, its write, the sync, then the answer.

    ``answered`` are the words by which the answer is known.
    """
    came = first(calls, lambda c: c.name == "recvfrom" and asked in c.text, -1, asked)
    write = first(
        calls, lambda c: is_log_write(c) and stored in c.text, came.ended, stored
    )
    done = synced_after(calls, write.ended)

    def answers(call: Call) -> bool:
        sent = call.name in ("sendto", "sendmsg")
        return sent and all(word in call.text for word in answered)

    answer = first(calls, answers, came.ended, str(answered))
    assert done < answer.began, f"{answered} left before {stored} was synced"


def call_id(calls: list[Call], text: str) -> str:
    """Return the Call-ID of the first MESSAGE with that text."""
    body = f"\\r\\n\\r\\n{text}"
    came = first(calls, lambda c: body in c.text, -1, text)
    return came.text.partition("Call-ID: ")[2].partition("\\r\\n")[0]


@pytest.mark.requirement("M-7.3.1.4-01")
def test_a_sip_answer_follows_the_sync_of_its_message(traced, sip_user, handset):
    bob = sip_user("bob", ("127.0.0.1", traced.sip_port))
    assert bob.register().status == 200
    carol = handset(traced, "carol")
    carol.open()
    expected = {"carol": 200, "dave": 202}
    for user, status in expected.items():
        for number in range(MESSAGES):
            answer = bob.message(f"sip:{user}@{traced.domain}", f"{user}-{number}-text")
            assert answer.status == status
    assert traced.stop() == 0

    calls = traced.calls()
    for user, status in expected.items():
        for number in range(MESSAGES):
            text = f"{user}-{number}-text"
            ids = call_id(calls, text)
            kept_before_answered(calls, text, text, f"SIP/2.0 {status}", ids)


def test_a_held_message_is_synced_before_its_handset_hears_200(
    traced, sip_user, handset
):
    bob = sip_user("bob", ("127.0.0.1", traced.sip_port))
    assert bob.register().status == 200
    bob.answer = lambda _: 100  # and nothing after that
    carol = handset(traced, "carol")
    carol.open()
    sent = carol.send(f"wv:bob@{traced.domain}", "held-text")
    assert sent.code == "200"
    number = sent.text("MessageID")
    assert traced.stop(signal.SIGKILL) != 0
    asked, answered = "held-text</ContentData>", ("HTTP/1.1 200 OK", number)
    kept_before_answered(traced.calls(), asked, "held-text", *answered)


def test_a_confirmation_is_synced_before_it_is_answered(traced, sip_user, handset):
    bob = sip_user("bob", ("127.0.0.1", traced.sip_port))
    assert bob.register().status == 200
    carol = handset(traced, "carol")
    carol.open()
    for number in range(MESSAGES):
        text = f"confirm-{number}-me"
        assert bob.message(f"sip:carol@{traced.domain}", text).status == 200
    numbers = [carol.receive().text("MessageID") for _ in range(MESSAGES)]
    assert traced.stop() == 0
    calls = traced.calls()
    for number in numbers:
        kept_before_answered(
            calls,
            f"<MessageDelivered><MessageID>{number}",
            number,
            "HTTP/1.1 200 OK",
        )
