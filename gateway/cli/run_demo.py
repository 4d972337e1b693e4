"""``imps-gateway run-demo``: the service with demo subscribers, for ``make run``."""

from __future__ import annotations

import argparse
import ipaddress
import secrets
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.cli._store import opened, resolve
from gateway.configtable import ConfigFaults
from gateway.errors import ConfigError
from gateway.store import Subscriber

SUMMARY = "run the service with demo subscribers (make run)"
HANDSET = "alice"
SIP_USER = "bob"
_LOOPBACK = "interface=127.0.0.1"


def run(arguments: list[str]) -> int:
    """Run until interrupted; status 1 when the service cannot start."""
    parser = argparse.ArgumentParser(
        prog="imps-gateway run-demo", description=SUMMARY, allow_abbrev=False
    )
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument(
        "--lan",
        metavar="ADDRESS",
        help="listen on this interface, with random passwords",
    )
    options = parser.parse_args(arguments)
    path = options.config
    if options.lan:
        path = _on_lan(path, options.lan)
    passwords = _subscribe(path, fresh=bool(options.lan))
    return _serve(path, passwords)


def _on_lan(path: Path, address: str) -> Path:
    """Write the demo configuration for another interface beside its state."""
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        fault = ConfigError("--lan", f"{address!r} is no IPv4 address")
        raise ConfigFaults([fault], "run-demo") from None
    text = path.read_text(encoding="utf-8")
    folder = path.parent.parent / "var"
    folder.mkdir(exist_ok=True)
    derived = folder / "demo-lan.toml"
    derived.write_text(
        text.replace(_LOOPBACK, f"interface={address}"), encoding="utf-8"
    )
    return derived


def _subscribe(path: Path, *, fresh: bool) -> dict[str, str]:
    """Add the two demo users; give their passwords, random ones when ``fresh``."""

    def secret(name: str) -> str:
        return secrets.token_urlsafe(12) if fresh else f"{name}-demo"

    passwords = {name: secret(name) for name in (HANDSET, SIP_USER)}
    with opened(path) as (store, domains):
        users = [
            Subscriber(
                aor=f"sip:{name}@{domains.sip}",
                user_id=f"wv:{name}@{domains.home}",
                password=password,
                sip_user=name,
                sip_password=password,
            )
            for name, password in passwords.items()
        ]
        known = [resolve(store.subscriber(user.aor)) for user in users]
        if not fresh and all(
            old is not None and replace(old, msisdn=None) == new
            for old, new in zip(known, users, strict=True)
        ):
            return passwords
        clashes = resolve(store.add_subscribers(users, replace=True))
    for clash in clashes:
        raise ConfigError("store", f"{clash.field} {clash.value} is taken")
    return passwords


def _serve(path: Path, passwords: dict[str, str]) -> int:
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner

    from gateway.loglines import to_file
    from gateway.store.secrets import Secrets
    from gateway.tap import Gateway, load_config

    loaded = load_config(path)

    globalLogBeginner.beginLoggingTo([to_file(sys.stdout)], redirectStandardIO=False)
    gateway = Gateway(reactor, loaded, Secrets.open(loaded.gateway.state_dir))
    gateway.started.addCallback(lambda _: _tell(gateway, passwords))
    running: Any = reactor
    running.addSystemEventTrigger("before", "shutdown", gateway.stopService)
    gateway.startService()
    if sys.stdin.isatty():
        # A terminal that is closed ends what it began: nobody could, otherwise.
        running.callWhenRunning(signal.signal, signal.SIGHUP, gateway.on_term)
    running.run()
    return 0


def _tell(gateway: Any, passwords: dict[str, str]) -> None:
    """Print every listener and one line that sends a message over and back."""
    program = sys.argv[0]
    sip = next(a for a in gateway.sip.addresses if a[0] == "udp")
    parts = [(b, p) for b, p in gateway.parts if b.type == "csp-http"]
    binding, part = parts[0]
    host, port = part.addresses[0]
    domains = gateway.node.domains
    lines = ["", "The gateway listens on:"]
    lines += [f"  {listener}" for listener in gateway.listeners()]
    lines += [
        "",
        "Send a message from a handset to a SIP user, and one back "
        "(in another terminal, one line):",
        "",
        _line(
            [
                *(program, "sip-user", "--core", f"sip:{sip[1]}:{sip[2]}"),
                *("--aor", f"sip:{SIP_USER}@{domains.sip}"),
                *("--password", passwords[SIP_USER]),
                *("--expect", "hello", "--reply", "hi", "--background"),
            ]
        )
        + " && "
        + _line(
            [
                *(program, "handset", f"http://{host}:{port}{binding.settings.path}"),
                *("--user", f"wv:{HANDSET}@{domains.home}"),
                *("--password", passwords[HANDSET]),
                *("--to", f"wv:{SIP_USER}@{domains.home}"),
                *("--send", "hello", "--expect", "hi"),
            ]
        ),
        "",
    ]
    print("\n".join(lines), flush=True)


def _line(words: Sequence[str]) -> str:
    return " ".join(words)
