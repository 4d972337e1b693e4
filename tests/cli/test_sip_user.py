"""The SIP twin: against a registrar written by hand, in memory and over sockets."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import sip_user as command
from gateway.cli._sip_line import Line
from gateway.cli._sip_terminal import SipTerminal
from gateway.errors import Malformed, Unreachable
from gateway.sip.message import parse
from gateway.sip.transaction import Hop
from tests.cli.sipcore import SipCore, served
from tests.cli.tls import server_context

CORE = Hop("udp", "192.0.2.1", 5060)


class FakeLine(Line):
    """Keeps what was sent; gives it to the core when the test says so."""

    def __init__(self):
        self.hop = CORE
        self.local = ("192.0.2.9", 40000)
        self.sent: list[bytes] = []

    def send(self, data):
        self.sent.append(data)

    def close(self):
        self.sent.clear()


class SipUserTests(SynchronousTestCase):
    """A terminal on a fake line before a core in memory; time by the clock."""

    def setUp(self):
        self.clock = Clock()
        self.core = SipCore()
        self.line = FakeLine()
        self.silent = False

    def call(self, sends=(), expects=(), reply=None, limit=30.0):
        numbers = itertools.count(1)
        self.terminal = SipTerminal(
            aor="sip:bob@example.com",
            user="bob",
            password="secret",
            clock=self.clock,
            token=lambda: f"t{next(numbers)}",
        )
        self.terminal.attach(self.line)
        self.terminal.errand.sends = list(sends)
        self.terminal.errand.expects = list(expects)
        self.terminal.errand.reply = reply
        self.registered = 0
        options = command._parser().parse_args(
            ["--core", "sip:192.0.2.1", "--aor", "sip:bob@example.com"]
            + ["--password", "secret", "--timeout", str(limit)]
        )

        def registered():
            self.registered += 1

        call = Deferred.fromCoroutine(
            command._call(self.clock, options, self.terminal, registered)
        )
        self.flow()
        return call

    def flow(self):
        """Carry everything there and back until nothing is said any more."""
        self.clock.advance(0)
        while self.line.sent and not self.silent:
            sent, self.line.sent = self.line.sent, []
            for data in sent:
                for answer in self.core.receive(data):
                    self.terminal.received(parse(answer), CORE)
            self.clock.advance(0)

    def deliver(self, *answers):
        for data in answers:
            self.terminal.received(parse(data), CORE)
        self.flow()

    def test_it_registers_sends_and_takes_its_registration_away(self):
        call = self.call([("sip:alice@example.com", "hello")])
        self.assertEqual(self.successResultOf(call), 0)
        self.assertEqual(self.core.texts, [("sip:alice@example.com", "hello")])
        self.assertEqual(self.registered, 1)
        self.assertEqual(self.core.expires, [600, 0])
        contact = "<sip:bob@192.0.2.9:40000;transport=udp>"
        self.assertEqual(self.core.contacts, [contact, contact])

    def test_proxies_and_registrars_may_both_ask_for_credentials(self):
        self.core.ask = 407
        call = self.call([("sip:alice@example.com", "hello")])
        self.assertEqual(self.successResultOf(call), 0)
        self.assertEqual(self.core.texts, [("sip:alice@example.com", "hello")])

    def test_a_core_that_always_asks_ends_it(self):
        self.core.password = "another"
        self.assertEqual(self.successResultOf(self.call(["x"])), 1)
        self.assertEqual(self.core.challenged, 3)
        self.assertEqual(self.registered, 0)

    def test_an_expected_text_is_answered_and_replied_to(self):
        call = self.call(expects=["hi"], reply="well met")
        self.assertNoResult(call)
        self.deliver(self.core.message("hi there", "asserted"))
        self.assertEqual(self.core.answers, [200])
        self.assertEqual(self.core.texts, [("sip:alice@example.com", "well met")])
        self.assertEqual(self.successResultOf(call), 0)

    def test_a_repeated_message_is_shown_once(self):
        call = self.call(expects=["hi", "hi"])
        message = self.core.message("hi")
        self.deliver(message, message)
        self.assertEqual(self.core.answers, [200, 200])
        self.assertNoResult(call)
        self.deliver(self.core.message("hi"))
        self.assertEqual(self.successResultOf(call), 0)

    def test_cpim_is_unwrapped(self):
        call = self.call(expects=["hi"])
        wrapped = "From: <x>\r\n\r\nContent-Type: text/plain\r\n\r\nhi"
        self.deliver(self.core.message(wrapped, media="message/cpim"))
        self.assertEqual(self.successResultOf(call), 0)

    def test_what_is_no_text_is_refused_with_what_would_be_taken(self):
        self.call(expects=["hi"])
        self.deliver(
            self.core.message("<x/>", media="message/imdn+xml"),
            self.core.message("only headers", media="message/cpim"),
            self.core.message("", method="OPTIONS"),
            self.core.message("", method="NOTIFY"),
        )
        self.assertEqual(self.core.answers, [415, 415, 200, 405])
        self.assertEqual(
            [answer.headers.get("Accept") for answer in self.core.responses],
            ["text/plain, message/cpim"] * 2 + [None, None],
        )
        self.assertEqual(
            [answer.headers.get("Allow") for answer in self.core.responses],
            [None, None, "MESSAGE, OPTIONS", "MESSAGE, OPTIONS"],
        )

    def test_a_refused_text_fails_it(self):
        self.core.message_status = 404
        call = self.call([("sip:nobody@example.com", "hello")])
        self.assertEqual(self.successResultOf(call), 1)
        self.assertEqual(self.core.expires, [600, 0])

    def test_an_address_that_is_none_fails_it(self):
        call = self.call([("alice", "hello")])
        self.assertEqual(self.successResultOf(call), 1)

    def test_a_core_that_does_not_answer_is_given_up(self):
        self.silent = True
        call = self.call(expects=["hi"], limit=60)
        for _ in range(320):
            self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(call), 1)
        self.assertGreater(len(self.line.sent), 5)

    def test_the_time_limit_ends_it_with_a_deregistration(self):
        call = self.call(expects=["hi"], limit=5)
        for _ in range(5):
            self.clock.advance(1)
            self.flow()
        self.assertEqual(self.successResultOf(call), 1)
        self.assertEqual(self.core.expires, [600, 0])

    def test_a_registration_is_refreshed_at_half_its_time(self):
        self.core.granted = 100
        call = self.call(expects=["hi"], limit=1000)
        for _ in range(11):
            self.clock.advance(10)
            self.flow()
        self.assertNoResult(call)
        self.assertEqual(self.core.expires, [600, 600, 600])

    def test_a_lost_line_ends_it(self):
        call = self.call(expects=["hi"])
        self.silent = True
        self.terminal.lost("the connection was lost")
        self.clock.advance(3)
        self.assertEqual(self.successResultOf(call), 1)

    def test_a_conversation_lasts_until_what_was_typed_was_taken(self):
        call = self.call()
        self.silent = True
        self.terminal.type("sip:alice@example.com", "hello")
        self.clock.advance(0)
        self.terminal.leave()
        self.assertNoResult(call)
        self.silent = False
        self.flow()
        self.assertEqual(self.successResultOf(call), 0)
        self.assertEqual(self.core.texts, [("sip:alice@example.com", "hello")])
        self.terminal.close()
        # Only transactions that absorb repeats were left, and their clock is stopped.
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_core_that_is_away_is_waited_for(self):
        self.silent = True
        self.call()
        self.terminal.type("sip:alice@example.com", "hello")
        for _ in range(330):
            self.clock.advance(0.1)
        self.assertIn("the core is away: no answer", self.terminal.standing())
        self.line.sent.clear()
        self.silent = False
        self.clock.advance(1)
        self.flow()
        self.assertEqual(self.core.texts, [("sip:alice@example.com", "hello")])
        self.assertIn("registered as sip:bob@192.0.2.9", self.terminal.standing())
        self.leave()

    def test_a_lost_line_is_opened_anew_with_what_was_not_answered(self):
        self.call()
        refusals = [Unreachable("refused")]

        async def connect():
            await succeed(None)
            if refusals:
                raise refusals.pop()
            self.line = FakeLine()
            return self.line

        self.terminal._connect = connect
        self.silent = True
        self.terminal.type("sip:alice@example.com", "hello")
        self.clock.advance(0)
        self.line.sent.clear()
        self.terminal.lost("reset")
        self.assertIn("the core is away: refused", self.terminal.standing())
        self.silent = False
        self.clock.advance(1)
        self.flow()
        self.assertEqual(self.core.texts, [("sip:alice@example.com", "hello")])
        self.leave()

    def test_a_text_without_an_answer_is_not_sent_twice(self):
        self.call()
        self.silent = True
        self.terminal.type("sip:alice@example.com", "hello")
        for _ in range(330):
            self.clock.advance(0.1)
        self.line.sent.clear()
        self.silent = False
        for _ in range(330):
            self.clock.advance(0.1)
            self.flow()
        self.assertEqual(self.core.texts, [])
        self.assertEqual(self.core.expires, [600, 600])
        self.leave()

    def test_who_has_no_patience_need_not_wait_for_an_answer(self):
        call = self.call()
        self.silent = True
        self.terminal.type("sip:alice@example.com", "hello")
        self.clock.advance(0)
        self.terminal.leave()
        self.terminal.abandon()
        self.assertEqual(self.successResultOf(call), 1)

    def test_only_what_names_a_sip_user_is_an_address(self):
        self.call()
        address = self.terminal.address
        self.assertEqual(address("Al <sip:al@x>"), "sip:al@x")
        self.assertEqual(address("tel:+15550100"), "tel:+15550100")
        for text in ("alice", "wv:alice@example.com", "http://x"):
            self.assertRaises(Malformed, address, text)
        self.leave()

    def test_messages_are_shown_with_the_digest_masked(self):
        call = self.call()
        told: list[tuple[bool, str]] = []
        self.terminal.display.trace = lambda *shown: told.append(shown)  # type: ignore
        self.terminal.tracing = True
        self.terminal.leave()
        self.flow()
        self.assertEqual(self.successResultOf(call), 0)
        self.assertEqual([sent for sent, _ in told], [True, False] * 2)
        self.assertIn('response="••••"', told[2][1])

    def leave(self):
        self.terminal.leave()
        self.flow()
        self.terminal.close()


def sip_user(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from gateway.cli import main; sys.exit(main())",
            "sip-user",
            *arguments,
        ],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


USER = ("--aor", "sip:bob@example.com", "--password", "secret")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_one_line_sends_receives_and_replies(transport):
    core = SipCore()
    core.on_text = lambda text: [core.message("hi")] if text == "hello" else []
    send = ("--send", "sip:alice@example.com", "hello")
    talk = ("--expect", "hi", "--reply", "well met", "--timeout", "30")
    with served(core, transport) as uri:
        ended = sip_user("--core", uri, *USER, *send, *talk)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "sip:alice@example.com: hi\n"
    assert [text for _, text in core.texts] == ["hello", "well met"]
    assert core.expires == [600, 0]
    assert core.answers == [200]
    assert "secret" not in ended.stdout + ended.stderr


def test_over_tls_only_the_certificate_given_is_trusted(tmp_path):
    context, certificate = server_context(tmp_path)
    send = ("--send", "sip:alice@example.com", "hello", "--timeout", "30")
    core = SipCore()
    with served(core, "tls", context) as uri:
        ended = sip_user("--core", uri, *USER, *send, "--ca", str(certificate))
    assert ended.returncode == 0, ended.stderr
    assert [text for _, text in core.texts] == ["hello"]
    assert core.contacts[0].endswith(";transport=tls>")
    core = SipCore()
    with served(core, "tls", context) as uri:
        ended = sip_user("--core", uri, *USER, *send)
    assert ended.returncode == 1
    assert "certificate" in ended.stderr
    assert core.challenged == 0


def test_a_conversation_takes_lines_from_standard_input():
    core = SipCore()
    with served(core, "udp") as uri:
        ended = sip_user(
            *("--core", uri, *USER[:-1], "-"),
            typed="secret\n/to sip:alice@example.com\nhello\n",
        )
    assert ended.returncode == 0, ended.stderr
    assert core.texts == [("sip:alice@example.com", "hello")]


def test_in_the_background_it_goes_on_once_it_is_registered():
    core = SipCore()
    core.on_text = lambda text: [core.message("hi")]
    send = ("--send", "sip:alice@example.com", "hello", "--expect", "hi")
    with served(core, "tcp") as uri:
        # The output ends with the child: subprocess.run waits for both.
        ended = sip_user("--core", uri, *USER, *send, "--background")
    assert ended.returncode == 0
    assert ended.stdout == "sip:alice@example.com: hi\n"
    assert core.expires == [600, 0]


def test_the_background_is_not_reached_without_a_registration():
    core = SipCore()
    core.password = "another"
    with served(core, "udp") as uri:
        ended = sip_user("--core", uri, *USER, "--expect", "hi", "--background")
    assert ended.returncode == 1
    assert ended.stderr == "registration refused, 401 Unauthorized\n"


def test_nobody_at_the_core_is_said_in_one_line():
    core = "sip:127.0.0.1:1;transport=tcp"
    ended = sip_user("--core", core, *USER, "--expect", "hi")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"no connection to {core}: Connection was refused")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--core", "127.0.0.1", *USER), "argument --core"),
        (("--core", "sip:c", "--aor", "bob", *USER[2:]), "argument --aor"),
        (("--core", "sip:c", "--aor", "sip:x.org", *USER[2:]), "is not sip:USER@"),
        (("--core", "sip:c", *USER, "--background"), "--background needs"),
    ],
)
def test_misuse_is_told_before_anything_is_sent(arguments, told):
    ended = sip_user(*arguments)
    assert ended.returncode == 2
    assert told in ended.stderr


def test_the_commands_choose_no_reactor_before_they_run():
    # A fork does not survive one, and the operator may want another.
    code = (
        "import sys, gateway.cli.sip_user, gateway.cli.handset\n"
        "sys.exit('twisted.internet.reactor' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == os.EX_OK
