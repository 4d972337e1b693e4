"""Errands, pauses and the keyboard of the two terminal commands."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli._errand import Errand, Pause, password


class Sender:
    """Names each sending by its number."""

    def __init__(self):
        self.sent = []

    def __call__(self, to, text):
        self.sent.append((to, text))
        return str(len(self.sent))


def test_an_errand_is_done_when_all_was_taken_and_has_come(capsys):
    send = Sender()
    errand = Errand(send, [("bob", "hello")], ["hi", "hi"])
    errand.begin()
    errand.begin()
    assert send.sent == [("bob", "hello")]
    errand.arrived("bob", "well, hi")
    errand.settled("1")
    assert not errand.ended
    errand.arrived("bob", "hi")
    assert errand.done
    assert capsys.readouterr().out == "bob: well, hi\nbob: hi\n"


def test_an_expected_text_is_replied_to_and_the_reply_must_be_taken():
    send = Sender()
    errand = Errand(send, expects=["hello"], reply="hi")
    errand.begin()
    errand.arrived("bob", "something else")
    assert send.sent == []
    errand.arrived("bob", "hello")
    assert send.sent == [("bob", "hi")]
    assert not errand.done
    errand.settled("1")
    assert errand.done


def test_a_refused_text_ends_an_errand():
    errand = Errand(Sender(), [("bob", "hello")], ["hi"])
    errand.begin()
    errand.settled("1", "refused, 531")
    assert errand.ended
    assert not errand.done
    assert errand.failure == "'hello' to bob: refused, 531"
    errand.settled("1", "again")
    assert errand.failure == "'hello' to bob: refused, 531"


def test_without_anything_to_do_there_is_a_conversation(capsys):
    send = Sender()
    errand = Errand(send)
    errand.begin()
    assert errand.interactive
    errand.say("bob", "hello")
    errand.settled("1", "refused, 531")
    assert not errand.ended
    assert capsys.readouterr().err == "'hello' to bob: refused, 531\n"


def test_a_conversation_may_reply_to_all():
    send = Sender()
    errand = Errand(send, reply="away")
    errand.begin()
    errand.arrived("bob", "there?")
    assert send.sent == [("bob", "away")]


def test_what_remains_is_named():
    errand = Errand(Sender(), [("bob", "hello")], ["hi"])
    assert errand.remaining() == "the line to come up"
    errand.begin()
    assert errand.remaining() == "an answer to 'hello' to bob, the text 'hi'"


def test_a_password_may_come_from_standard_input():
    reading, writing = os.pipe()
    os.write(writing, b" s\xc3\xa9cret \r\nmore\n")
    assert password("-", reading) == " sécret "
    assert os.read(reading, 10) == b"more\n"
    os.close(writing)
    assert password("-", reading) == ""
    os.close(reading)
    assert password("plain") == "plain"


def test_what_is_said_too_early_goes_out_when_the_line_is_up():
    send = Sender()
    errand = Errand(send)
    errand.say("bob", "hello")
    assert errand.busy
    assert send.sent == []
    errand.begin()
    assert send.sent == [("bob", "hello")]


class PauseTests(SynchronousTestCase):
    """Waiting for a word or for the time."""

    def setUp(self):
        self.clock = Clock()
        self.pause = Pause(self.clock)

    def until(self, time):
        return Deferred.fromCoroutine(self.pause.until(time))

    def test_the_time_ends_it(self):
        waiting = self.until(5)
        self.clock.advance(4.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        self.successResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_word_ends_it(self):
        waiting = self.until(5)
        self.pause.wake()
        self.successResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_word_said_before_is_not_lost(self):
        self.pause.wake()
        self.pause.wake()
        self.successResultOf(self.until(None))
        self.assertNoResult(self.until(None))

    def test_a_cancelled_pause_leaves_no_timer(self):
        waiting = self.until(5)
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
