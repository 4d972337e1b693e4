"""What an operator reads: levels changed while running, lines of JSON, no secrets."""

from __future__ import annotations

import base64
import json
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.live.gateway import GatewayService

TEXTS = ("the eagle lands at noon", "the owl is awake")
NUMBER = "+358401234567"


class Chatty(GatewayService):
    """The service with a ``[log]`` section; carol has a telephone number."""

    log_section = '[log]\nlevel = "debug"\nformat = "json"\n'

    def configure(self) -> None:
        """Write the configuration file, its log section at the end."""
        super().configure()
        self.write(self.log_section)

    def write(self, section: str) -> None:
        """Put another log section into the configuration file."""
        text = self.config.read_text(encoding="utf-8").partition("[log]")[0]
        self.config.write_text(text + section, encoding="utf-8")

    def subscribe(self, *users: str) -> None:
        """Add the subscribers, and the number of one of them."""
        super().subscribe(*users)
        options = ["--config", str(self.config), "--msisdn", NUMBER]
        self.cli("subscriber", "set", *options, f"sip:carol@{self.domain}")

    def reload(self, section: str, applied: str) -> None:
        """Change the log section of the running service; wait until it is applied."""
        self.write(section)
        before = self.output().count("reloaded: ")
        self.signal(signal.SIGHUP)
        self.wait_for(lambda: self.output().count("reloaded: ") > before, "the reload")
        line = self.output().rpartition("reloaded: ")[2]
        assert line.startswith(applied), line


@pytest.fixture
def service(stage) -> Callable[[], Chatty]:
    """Start the service with the embedded core, two handsets and a SIP user."""
    names = ("carol", "dave", "bob")
    return lambda: stage.start(Chatty(stage.folder, subscribers=names))


def entries(service: Chatty) -> list[dict[str, Any]]:
    """Read the log as a machine does; every line is one object."""
    return [json.loads(line) for line in service.output().splitlines()]


def test_a_live_conversation_at_debug_level_holds_no_secret(service, handset, sip_user):
    gateway = service()
    bob = sip_user("bob", ("127.0.0.1", gateway.sip_port))
    wires = _remember_wires(bob)
    assert bob.register().status == 200
    carol = handset(gateway, "carol")
    proofs = _remember_logins(carol)
    assert carol.login_by_digest("MD5").code == "200"
    carol.negotiate()
    carol.services()
    assert carol.send("wv:bob@im.example.test", TEXTS[0]).code == "200"
    bob.expect()
    assert bob.message("sip:carol@im.example.test", TEXTS[1]).status == 200
    assert carol.receive().text("ContentData") == TEXTS[1]
    session = carol.session
    carol.logout()
    # The number is a name, too: with it, and with a wrong password.
    carol.user = f"wv:{NUMBER}@im.example.test"
    assert carol.login().code == "200"
    assert carol.send(f"wv:{NUMBER}@im.example.test", TEXTS[0]).code == "200"
    carol.password = "wrong-secret-word"
    assert carol.login().code == "409"
    # Faulty bodies are told with their cause, not with what they hold.
    for body in (f"<Password>{TEXTS[0]}", f"{TEXTS[0]}\0", f"<a>{TEXTS[0]}</a>"):
        assert carol.post(body.encode())[0].status == 400
    wire = b"\n".join(wires).decode()
    # Of both directions: who knows a branch can answer in the core's name.
    words = re.findall(r'(nonce|response|branch)="?([^",;\s]+)', wire)
    secrets = [*TEXTS, "cookie-1", session, NUMBER, NUMBER[1:], "secret-"]
    secrets += ["wrong-secret-word", base64.b64encode(TEXTS[0].encode()).decode()]
    secrets += [*proofs, *(value for _, value in words)]
    log = gateway.output()
    assert len(proofs) == 2
    assert {name for name, _ in words} == {"nonce", "response", "branch"}
    assert "login failed: user=wv:+...67@im.example.test" in log
    assert "HTTP 400 to 127.0.0.1: " in log
    assert gateway.stop() == 0
    assert "(2 more within a minute)" in gateway.output()
    assert {secret for secret in secrets if secret in log} == set()


def _remember_wires(user: Any) -> list[bytes]:
    """Keep what a SIP user sends and gets from now on."""
    found: list[bytes] = []
    send, got = user._send, user._got

    def sending(wire: bytes, address: Any) -> None:
        found.append(wire)
        send(wire, address)

    def getting(message: Any, address: Any) -> None:
        found.append(message.raw)
        got(message, address)

    user._send, user._got = sending, getting
    return found


def _remember_logins(carol: Any) -> list[str]:
    """Keep the nonce that a handset gets, and the digest it makes of it."""
    found: list[str] = []
    request = carol.request

    def remembering(content: str) -> Any:
        found.extend(re.findall("<DigestBytes>(.+?)<", content))
        answer = request(content)
        if answer.has("Nonce"):
            found.append(answer.text("Nonce"))
        return answer

    carol.request = remembering
    return found


def test_one_id_leads_from_the_handset_to_the_sip_user_and_back(
    service, handset, sip_user
):
    gateway = service()
    bob = sip_user("bob", ("127.0.0.1", gateway.sip_port))
    assert bob.register().status == 200
    carol = handset(gateway, "carol")
    carol.open()
    sent = carol.send("wv:bob@im.example.test", "hello")
    call_id = bob.expect().get("call-id")
    assert bob.message("sip:carol@im.example.test", "hello, too").status == 200
    offer = carol.receive()
    log = entries(gateway)
    for message in (sent.text("MessageID"), offer.text("MessageID")):
        steps = [entry for entry in log if entry.get("message") == message]
        texts = " ".join(entry["text"] for entry in steps)
        assert len(steps) >= 3, texts
        if message == sent.text("MessageID"):
            (begun,) = (entry for entry in steps if "begins" in entry["text"])
            answers = [e["primitive"] for e in log if "CSP answer" in e["text"]]
            assert begun["transaction"] == f"{carol.session[:6]}/{sent.id}"
            assert "SendMessage-Response" in answers
            assert {call_id} == {e["call_id"] for e in steps if "call_id" in e}
            for step in ("MESSAGE sent to", "200 came from", "sent: "):
                assert step in texts
        else:
            for step in ("accepted: call_id=", "200 answered to", "pushed", "deliver"):
                assert step in texts


def test_levels_and_format_change_while_it_runs(service, handset):
    gateway = service()
    carol = handset(gateway, "carol")
    carol.open()
    assert {e["subject"] for e in entries(gateway) if e["level"] == "debug"}
    quiet = '[log]\nlevel = "info"\n[log.levels]\nsip = "debug"\n'
    gateway.reload(quiet, "log.format, log.level, log.levels; needs a restart: nothing")
    before = len(gateway.output())
    assert carol.keep_alive().code == "200"
    carol.user = "wv:nobody@im.example.test"
    assert carol.login().code == "531"
    tail = gateway.output()[before:]
    assert "CSP " not in tail
    (line,) = (line for line in tail.splitlines() if "login failed: " in line)
    pattern = (
        r"\S+ \[gateway\.services\.access\.Access#info\] login failed: "
        r"user=wv:nobody@im\.example\.test address=127\.0\.0\.1 cause=unknown"
    )
    assert re.fullmatch(pattern, line), line
