"""The terminal handset and SIP user against the real core and the real service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
