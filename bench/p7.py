"""P7: logins a second on one processor, the SIP registrations included.

A login is a Login-Request with a password, answered with a session; the time runs until
the registrar has granted the last REGISTER. In a second line the registrar challenges
each of them with Digest; in a third the login has four steps and all of a handset's
start: capability and service negotiation. Every login is another user's first one.

Baraza (an IMPS server in C on PostgreSQL) was measured once, on a machine of this kind,
without any SIP.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.crowd import Actor, Crowd, Post, measured, middle
from bench.p2 import workplace
from bench.processes import LOAD_CPU, ROUNDS, Server, listening
from bench.report import Line
from bench.service import DOMAIN, PASSWORD, Service, post, serving
from gateway.csp.client import Account, Client, Closed, Opened
from gateway.csp.common import ClientID, LoginRequest
from gateway.csp.envelope import Mode, Transaction, Version
from gateway.csp.xmlsyntax import decode

LOGINS = 3000
"""For each round, and a third of it to warm up."""
SEATS = 64
BARAZA = 319.0
"""Logins a second."""
_PATIENCE = 60.0


def login(number: int) -> Actor:
    """Log user ``number`` in with a password."""
    request = LoginRequest(
        user_id=f"wv:u{number}@{DOMAIN}",
        client_id=ClientID(url="imps-gateway:bench"),
        password=PASSWORD,
        time_to_live=3600,
        session_cookie="bench",
    )
    transaction = Transaction(id="1", mode=Mode.REQUEST, primitive=request)
    reply = yield Post(post(None, transaction))
    if b"<Code>200</Code>" not in reply or b"<SessionID>" not in reply:
        raise RuntimeError(f"not logged in: {reply!r}")


def start(number: int) -> Actor:
    """Do all that a handset does until its session is open and negotiated."""
    account = Account(user_id=f"wv:u{number}@{DOMAIN}", password=PASSWORD)
    client = Client(account, version=Version.V1_2)
    client.login()
    while (message := client.data_to_send()) is not None:
        [transaction] = message.transactions
        reply = yield Post(post(message.session_id, transaction))
        body = reply.partition(b"\r\n\r\n")[2]
        client.receive(decode(body) if body else None, time.monotonic())
        while (event := client.next_event()) is not None:
            if isinstance(event, Closed):
                raise RuntimeError(f"not logged in: {event}")
            if isinstance(event, Opened):
                return
    raise RuntimeError("the handset fell silent")


def measure() -> list[Line]:
    """Give the three lines."""
    return [
        _line("login and REGISTER", login),
        _line("login and REGISTER with Digest", login, "digest"),
        _line("4-step login, negotiation, REGISTER with Digest", start, "digest"),
    ]


def _line(what: str, actor: Callable[[int], Actor], *arguments: str) -> Line:
    users = ROUNDS * (LOGINS + LOGINS // 3)
    with (
        workplace() as folder,
        listening("bench.registrar", LOAD_CPU, *arguments) as registrar,
        serving(folder, core=registrar.port, subscribers=users) as service,
    ):
        found = middle(_rounds(service, registrar, actor))
        if "Traceback" in service.log:
            raise RuntimeError(f"the service logged a defect:\n{service.log}")
    return Line(
        id="P7",
        what=what,
        value=found["rate"],
        unit="logins/s",
        anchor="Baraza without SIP, recorded",
        anchor_value=BARAZA,
        goal=">= 1000 logins/s",
        note=f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms; "
        f"{found['cpu_us']:.0f} us processor each",
        details=found,
    )


def _rounds(
    service: Service, registrar: Server, actor: Callable[[int], Actor]
) -> list[dict[str, Any]]:
    numbers = itertools.count()
    found = []
    for _ in range(ROUNDS):
        for count in (LOGINS // 3, LOGINS):
            outcome = _round(service, registrar, actor, numbers, count)
        found.append(outcome)
    return found


def _round(
    service: Service,
    registrar: Server,
    actor: Callable[[int], Actor],
    numbers: Iterator[int],
    count: int,
) -> dict[str, Any]:
    """Log so many users in, until all of them are registered."""
    mine = itertools.islice(numbers, count)

    def actors(seat: int) -> Actor | None:
        number = next(mine, None)
        return None if number is None else actor(number)

    crowd = Crowd(SEATS, http=service.http.port)
    wanted = registered(registrar) + count
    used, begun = service.http.cpu, time.perf_counter()
    with contextlib.closing(crowd):
        outcome = measured(service.http, crowd, actors)
    while (now := registered(registrar)) < wanted:
        if time.perf_counter() - begun > _PATIENCE:
            raise RuntimeError(f"{wanted - now} users were not registered")
        time.sleep(0.005)
    outcome["rate"] = count / (time.perf_counter() - begun)
    outcome["cpu_us"] = (service.http.cpu - used) / count * 1e6
    return outcome


def registered(registrar: Server) -> int:
    """Ask the registrar how many registrations it has granted."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(10)
        line.sendto(b"COUNT", ("127.0.0.1", registrar.port))
        return int(line.recv(64))
