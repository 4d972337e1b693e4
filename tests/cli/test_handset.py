"""The terminal handset: against a small server, in memory and over real sockets."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import handset as command
from gateway.cli._display import Display
from gateway.cli._http import Posted
from gateway.cli.handset import Handset
from gateway.csp.client import Account, Client
from gateway.csp.envelope import Version
from gateway.errors import Unreachable
from tests.cli.cspserver import CspServer
from tests.cli.tls import server_context

ALICE = Account(user_id="wv:alice@example.com", password="secret")


class Told(Display):
    """A display that keeps what is said beside the conversation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.state = ""

    def tell(self, line: str) -> None:
        self.lines.append(line)

    def stands(self, state: str) -> None:
        self.state = state

    def trace(self, sent: bool, document: str) -> None:
        self.lines.append(("> " if sent else "< ") + document)


class HandsetCase(SynchronousTestCase):
    """A handset whose posts reach the server at once; time by the clock."""

    def setUp(self):
        self.clock = Clock()
        self.server = CspServer()
        self.broken = 0
        self.status = 200

    async def post(self, content_type, body):
        await succeed(None)
        if self.broken:
            self.broken -= 1
            raise Unreachable("connection refused")
        kind, reply = self.server.exchange(content_type, body)
        return Posted(self.status, kind, reply)

    def call(self, sends=(), expects=(), reply=None, limit=30, **options):
        account = options.pop("account", ALICE)
        client = Client(account, **options)
        self.told = Told()
        self.handset = Handset(client, self.post, self.clock, display=self.told)
        self.handset.errand.sends = [("wv:bob@example.com", text) for text in sends]
        self.handset.errand.expects = list(expects)
        self.handset.errand.reply = reply
        return Deferred.fromCoroutine(command._call(self.handset, self.clock, limit))


class HandsetTests(HandsetCase):
    """Errands, and how a conversation ends."""

    def test_a_text_goes_out_in_every_version(self):
        for version in Version:
            self.server.texts.clear()
            call = self.call(["hello"], version=version)
            self.assertEqual(self.successResultOf(call), 0)
            self.assertEqual(self.server.texts, ["hello"])
            self.assertEqual(self.server.heard[-1], "Logout-Request")

    def test_an_expected_text_is_polled_for_and_confirmed(self):
        call = self.call(expects=["hi"], reply="well met")
        self.clock.pump([1.0, 1.0, 1.0])
        self.assertNoResult(call)
        self.server.inbox.extend(["other", "hi there"])
        self.clock.pump([1.0, 1.0, 1.0])
        self.assertEqual(self.successResultOf(call), 0)
        self.assertEqual(self.server.texts, ["well met"])
        self.assertEqual(len(self.server.delivered), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_time_limit_ends_it_with_a_logout(self):
        call = self.call(expects=["hi"], limit=5)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.successResultOf(call), 1)
        self.assertEqual(self.server.heard[-1], "Logout-Request")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_refused_text_fails_it(self):
        self.server.send_code = 531
        self.assertEqual(self.successResultOf(self.call(["hello"])), 1)

    def test_a_wrong_password_fails_it(self):
        wrong = Account(user_id="wv:alice", password="wrong", schemas=())
        self.assertEqual(self.successResultOf(self.call(["x"], account=wrong)), 1)
        self.assertEqual(self.server.texts, [])

    def test_the_password_itself_may_be_sent(self):
        plain = Account(user_id="wv:alice", password="secret", schemas=())
        self.assertEqual(self.successResultOf(self.call(["x"], account=plain)), 0)

    def test_a_line_that_breaks_is_tried_again(self):
        self.broken = 2
        self.assertEqual(self.successResultOf(self.call(["hello"])), 0)
        self.assertEqual(self.server.texts, ["hello"])

    def test_a_line_that_stays_down_fails_it(self):
        self.broken = 3
        self.assertEqual(self.successResultOf(self.call(["hello"])), 1)

    def test_another_http_status_fails_it(self):
        self.status = 404
        self.assertEqual(self.successResultOf(self.call(["hello"])), 1)

    def test_a_conversation_lasts_until_the_user_leaves(self):
        call = self.call(limit=None)
        self.handset.type("wv:bob@example.com", "hello")
        self.clock.advance(100)
        self.assertNoResult(call)
        self.assertEqual(self.server.texts, ["hello"])
        self.handset.leave()
        self.assertEqual(self.successResultOf(call), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_server_that_no_longer_answers_does_not_hold_up_the_end(self):
        call = self.call(limit=None)

        def silent(content_type: str, body: bytes) -> Deferred[Posted]:
            return Deferred()

        self.handset._post = silent  # type: ignore[assignment]
        self.handset.leave()
        self.assertNoResult(call)
        self.clock.advance(3)
        self.assertEqual(self.successResultOf(call), 0)


class ConversationTests(HandsetCase):
    """A conversation outlasts its line and its session."""

    def talk(self, *texts: str):
        """Begin a conversation. Each POST is tried three times before it fails."""
        self.conversing = self.call(limit=None)
        for text in texts:
            self.handset.type("wv:bob@example.com", text)

    def tearDown(self):
        self.handset.leave()
        self.handset.abandon()
        self.successResultOf(self.conversing)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_gateway_that_is_away_is_waited_for(self):
        self.broken = 3 * 2
        self.talk()
        self.assertEqual(self.told.state, "away")
        self.clock.pump([1.0, 1.0, 1.0])
        self.assertEqual(self.told.state, "")
        told = "the gateway is away: connection refused; what you type is kept"
        self.assertEqual(self.told.lines[:2], [told, "the gateway is back"])
        self.assertIn("the session is open", self.handset.standing())

    def test_the_waits_grow_up_to_half_a_minute(self):
        self.broken = 3 * 1000
        self.talk()
        for wait in (1, 2, 4, 8, 16, 30, 30):
            before = self.broken
            self.clock.advance(wait - 0.1)
            self.assertEqual(self.broken, before)
            self.clock.advance(0.1)
            self.assertEqual(self.broken, before - 3)
        self.assertEqual(len(self.told.lines), 1)
        self.assertIn("away: connection refused", self.handset.standing())

    def test_what_is_typed_meanwhile_goes_out_once_later(self):
        self.talk()
        self.broken = 3 * 2
        self.clock.advance(1)
        self.handset.type("wv:bob@example.com", "hello")
        self.assertEqual(self.server.texts, [])
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.server.texts, ["hello"])

    def test_a_server_out_of_order_is_waited_for_and_another_page_is_not(self):
        self.status = 503
        self.talk()
        self.assertEqual(self.told.state, "away")
        self.status = 404
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(self.conversing), 1)
        self.assertIn("HTTP 404", self.told.lines[-1])
        self.conversing = succeed(1)

    def test_an_ended_session_is_told_and_followed_by_another(self):
        self.talk("one")
        self.server.ended = 604
        self.handset.type("wv:bob@example.com", "two")
        self.assertIn("the server ended the session: 604", self.told.lines[-1])
        self.assertEqual(self.told.state, "logging in")
        self.handset.type("wv:bob@example.com", "three")
        self.clock.advance(1)
        self.assertEqual(self.server.texts, ["one", "two", "three"])
        self.assertEqual(self.told.state, "")

    def test_a_session_that_lasted_is_followed_at_once(self):
        self.talk()
        self.clock.pump([1.0] * 40)
        self.server.ended = 600
        self.handset.type("wv:bob@example.com", "hello")
        self.assertEqual(self.server.texts, ["hello"])

    def test_a_login_refused_for_now_is_tried_again(self):
        self.server.login_code = 503
        self.talk("hello")
        self.clock.advance(1)
        self.assertIn("no login at present: 503", self.told.lines[-1])
        self.server.login_code = 200
        self.clock.advance(2)
        self.assertEqual(self.server.texts, ["hello"])

    def test_a_login_refused_for_good_ends_it(self):
        self.server.login_code = 409
        self.talk()
        self.assertEqual(self.successResultOf(self.conversing), 1)
        self.assertEqual(self.told.lines, ["the login was refused: 409"])
        self.conversing = succeed(1)

    def test_who_leaves_while_the_gateway_is_away_hears_what_was_not_sent(self):
        self.broken = 3 * 100
        self.talk("hello")
        self.handset.leave()
        self.assertEqual(self.successResultOf(self.conversing), 1)
        self.assertEqual(
            self.told.lines[-2:],
            [
                "the line is down: connection refused",
                "not sent: 'hello' to wv:bob@example.com",
            ],
        )
        self.conversing = succeed(1)

    def test_who_has_no_patience_need_not_wait_for_an_answer(self):
        self.talk()

        def silent(content_type: str, body: bytes) -> Deferred[Posted]:
            return Deferred()

        self.handset._post = silent  # type: ignore[assignment]
        self.handset.type("wv:bob@example.com", "hello")
        self.handset.leave()
        self.assertNoResult(self.conversing)
        self.handset.abandon()
        self.assertEqual(self.successResultOf(self.conversing), 1)
        self.conversing = succeed(1)

    def test_documents_are_shown_without_secrets_and_without_idle_polls(self):
        self.told = Told()
        self.handset = Handset(
            Client(Account(user_id="wv:alice", password="secret", schemas=())),
            self.post,
            self.clock,
            display=self.told,
        )
        self.handset.tracing = True
        self.conversing = Deferred.fromCoroutine(
            command._call(self.handset, self.clock, None)
        )
        shown = [line for line in self.told.lines if line[:2] in ("> ", "< ")]
        self.assertEqual(len(shown), 6)
        self.assertIn("••••", shown[0])
        self.assertNotIn("secret", "".join(shown))
        before = len(self.told.lines)
        self.clock.pump([1.0] * 6)
        self.assertIn("Polling-Request", self.server.heard)
        self.assertEqual(len(self.told.lines), before)


@contextmanager
def listening(server: CspServer, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Put the server behind a real port; ``/old`` redirects to ``/csp``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/old":
                self.send_response(307)
                self.send_header("Location", "/csp")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            kind, reply = server.exchange(self.headers["Content-Type"], body)
            self.send_response(200)
            if kind:
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format, *args):
            pass

    class Server(HTTPServer):
        def handle_error(self, request, client_address):
            server.heard.append("a client that went away")

    http = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    scheme = "http://127.0.0.1" if tls is None else "https://localhost"
    yield f"{scheme}:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def served() -> Iterator[tuple[CspServer, str]]:
    server = CspServer()
    with listening(server) as url:
        yield server, url


def handset(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from gateway.cli import main; sys.exit(main())",
            "handset",
            *arguments,
        ],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


USER = ("--user", "wv:alice@example.com", "--password", "secret")


@pytest.mark.parametrize("csp", ["1.1", "1.2", "1.3"])
def test_one_line_sends_and_receives(served, csp):
    server, url = served
    server.on_text = lambda it, text: it.inbox.append("hi " + text)
    to = ("--to", "wv:bob@example.com")
    talk = ("--send", "hello", "--expect", "hi hello", "--timeout", "30")
    ended = handset(f"{url}/old", *USER, *to, *talk, "--csp", csp)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "wv:bob@example.com: hi hello\n"
    assert server.texts == ["hello"]
    assert server.heard[-1] == "Logout-Request"
    assert "secret" not in ended.stdout + ended.stderr


def test_a_conversation_takes_lines_from_standard_input(served):
    server, url = served
    ended = handset(
        f"{url}/csp", *USER[:-1], "-", typed="secret\n/to wv:bob@example.com\nhello\n"
    )
    assert ended.returncode == 0, ended.stderr
    assert server.texts == ["hello"]


def test_over_https_only_the_certificate_given_is_trusted(tmp_path):
    context, certificate = server_context(tmp_path)
    server = CspServer()
    talk = ("--to", "wv:bob@example.com", "--send", "hello", "--timeout", "30")
    with listening(server, context) as url:
        ended = handset(f"{url}/csp", *USER, *talk, "--ca", str(certificate))
        assert ended.returncode == 0, ended.stderr
        assert server.texts == ["hello"]
        ended = handset(f"{url}/csp", *USER, *talk)
    assert ended.returncode == 1
    assert ended.stderr.startswith("the line is down: the server's certificate is not")
    assert "--ca FILE" in ended.stderr
    assert server.texts == ["hello"]


def test_nobody_at_the_url_is_said_in_one_line():
    ended = handset("http://127.0.0.1:1/csp", *USER, "--expect", "hi")
    assert ended.returncode == 1
    assert ended.stderr.startswith("the line is down: Connection was refused")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("http://127.0.0.1:1/csp", *USER[:2]), "--password is needed"),
        (("127.0.0.1:8080/csp", *USER), "is not http://HOST/PATH"),
    ],
)
def test_what_lacks_is_told_before_anything_is_sent(arguments, told):
    ended = handset(*arguments)
    assert ended.returncode == 2
    assert told in ended.stderr


def test_misuse_is_told_before_anything_is_sent():
    ended = handset("http://127.0.0.1:1/csp", *USER, "--send", "hello")
    assert ended.returncode == 2
    assert "--send needs --to" in ended.stderr
