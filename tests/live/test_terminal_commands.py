"""The terminal handset and SIP user against the real core and the real service."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.tmux import Tmux

PROGRAM = str(Path(sys.executable).parent / "imps-gateway")
DOMAIN = "im.example.test"


def sip_user(core, user: str, transport: str, *arguments: str) -> list[str]:
    """Write the command of a SIP user at the core's terminal side."""
    uri = f"sip:127.0.0.1:{core.sip_port};transport={transport}"
    return [
        *(PROGRAM, "sip-user", "--core", uri, "--aor", f"sip:{user}@{DOMAIN}"),
        *("--password", user, "--timeout", "30", *arguments),
    ]


def ended(command: list[str]) -> str:
    """Run a command to its end, that of its background too; give what it printed."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def together(background: list[str], then: list[str]) -> str:
    """Run what the demo line runs: one in the background, then the other."""
    line = ["sh", "-c", '"$@"', "sh", *background, "--background"]
    first = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert first.wait(30) == 0
    printed = ended(then)
    assert first.stdout is not None
    with first.stdout:
        return printed + first.stdout.read()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_two_sip_users_talk_over_the_core(kamailio, transport):
    core = kamailio()
    bob = sip_user(core, "bob", transport, "--expect", "hello", "--reply", "hi")
    alice = sip_user(core, "alice", transport, "--send", f"sip:bob@{DOMAIN}", "hello")
    printed = together(bob, [*alice, "--expect", "hi"])
    assert printed == f"sip:bob@{DOMAIN}: hi\nsip:alice@{DOMAIN}: hello\n"
    assert core.contacts("alice") == core.contacts("bob") == []


@pytest.mark.parametrize("csp", ["1.1", "1.2", "1.3"])
def test_a_handset_and_a_sip_user_talk_over_the_gateway(bridge, csp):
    gateway, core = bridge("trusted")
    bob = sip_user(core, "bob", "udp", "--expect", "hello", "--reply", "hi")
    carol = [
        *(PROGRAM, "handset", f"http://127.0.0.1:{gateway.http_port}/csp"),
        *("--user", f"wv:carol@{DOMAIN}", "--password", gateway.password("carol")),
        *("--to", f"wv:bob@{DOMAIN}", "--send", "hello", "--expect", "hi"),
        *("--timeout", "30", "--csp", csp),
    ]
    printed = together(bob, carol)
    assert printed == f"wv:bob@{DOMAIN}: hi\nsip:carol@{DOMAIN}: hello\n"


def test_a_sip_user_talks_over_the_embedded_core(gateway):
    service = gateway()
    dave = [
        *(PROGRAM, "sip-user", "--core", f"sip:127.0.0.1:{service.sip_port}"),
        *("--aor", f"sip:dave@{DOMAIN}", "--user", "dave", "--password", "dave"),
        *("--timeout", "30", "--expect", "hello", "--reply", "hi"),
    ]
    carol = [
        *(PROGRAM, "handset", f"http://127.0.0.1:{service.http_port}/csp"),
        *("--user", f"wv:carol@{DOMAIN}", "--password", service.password("carol")),
        *("--to", f"wv:dave@{DOMAIN}", "--send", "hello", "--expect", "hi"),
        *("--timeout", "30"),
    ]
    printed = together(dave, carol)
    assert printed == f"wv:dave@{DOMAIN}: hi\nsip:carol@{DOMAIN}: hello\n"


def test_the_check_of_the_start_says_ok(gateway):
    service = gateway()
    assert service.cli("check-config", str(service.config)) == "ok\n"


@pytest.fixture
def tmux(stage):
    """Start a terminal for several people."""
    return stage.start(Tmux(stage.folder))


@pytest.fixture
def people(gateway, tmux):
    """Start the service, and give a handset and a SIP user in a conversation."""
    service = gateway()
    carol = [
        *(PROGRAM, "handset", f"http://127.0.0.1:{service.http_port}/csp"),
        *("--user", f"wv:carol@{DOMAIN}"),
    ]
    dave = [
        *(PROGRAM, "sip-user"),
        *("--core", f"sip:127.0.0.1:{service.sip_port};transport=tcp"),
        *("--aor", f"sip:dave@{DOMAIN}", "--password", "dave"),
        *("--to", f"sip:carol@{DOMAIN}"),
    ]
    handset = tmux.open(carol)
    handset.sees("Password:")
    handset.enter(service.password("carol"))
    handset.sees("logged in")
    sip = tmux.open(dave)
    sip.sees("registered")
    return service, handset, sip


@pytest.mark.component("tmux")
def test_two_people_talk_at_their_terminals(people):
    service, carol, dave = people
    carol.enter("/to wv:dave@" + DOMAIN)
    carol.ends_with(f"wv:dave@{DOMAIN}>")
    carol.enter("Grüße, 世界 👋")
    dave.sees(f"sip:carol@{DOMAIN}: Grüße, 世界 👋")
    # What comes while one types stands above the row that is typed in.
    carol.type("wait")
    carol.press("Left", "Left")
    dave.enter("hello")
    carol.sees(f"wv:dave@{DOMAIN}: hello")
    carol.ends_with(f"wv:dave@{DOMAIN}> wait")
    carol.type("ö")
    carol.press("BSpace", "End")
    carol.type("!")
    carol.ends_with(f"wv:dave@{DOMAIN}> wait!")
    carol.press("Enter")
    dave.sees(f"sip:carol@{DOMAIN}: wait!")
    carol.press("Up", "Up")
    carol.ends_with(f"wv:dave@{DOMAIN}> Grüße, 世界 👋")
    carol.press("C-c")
    carol.enter("/who")
    carol.sees(f"wv:dave@{DOMAIN} has written 1 text")
    carol.enter("/xml")
    carol.enter("seen")
    carol.sees("</SendMessage-Request>")
    dave.enter("/sip")
    dave.enter("/quit")
    assert dave.status() == 0
    dave.sees('response="••••"')
    carol.press("C-d")
    assert carol.status() == 0
    assert service.password("carol") not in carol.screen()


@pytest.mark.component("tmux")
def test_a_conversation_outlasts_the_gateway(people):
    service, carol, dave = people
    carol.enter(f"/to wv:carol@{DOMAIN}")
    service.stop(signal.SIGKILL)
    carol.sees("the gateway is away")
    dave.sees("the core is away")
    carol.enter("a note to myself")
    carol.ends_with(f"(away) wv:carol@{DOMAIN}>")
    dave.enter("are you there?")
    service.start()
    carol.sees("the gateway is back")
    # Once as it was typed, once as it came.
    carol.sees(f"wv:carol@{DOMAIN}: a note to myself", times=2)
    dave.sees("the core is back")
    carol.sees(f"wv:dave@{DOMAIN}: are you there?")


@pytest.mark.component("tmux")
def test_a_refused_login_is_told_and_leaves_a_terminal_in_order(gateway, tmux):
    service = gateway()
    url = f"http://127.0.0.1:{service.http_port}/csp"
    login = f"{PROGRAM} handset {url} --user wv:carol@{DOMAIN} --password wrong"
    shell = tmux.open(["sh", "-c", f"{login}; status=$?; stty -a; exit $status"])
    assert shell.status() == 1
    shell.sees("the login was refused: 409")
    shell.sees(" icanon ")
    shell.enter("and echoes")
    shell.sees("and echoes")
