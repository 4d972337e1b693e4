"""The embedded core: challenges every method, asserts identities, stores for nobody."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface import implementer

from gateway.igateway import ILink
from gateway.services.account import Account
from gateway.sip import digest
from gateway.sip.message import Request, Response, parse
from gateway.sip.transaction import Hop
from tests.services.doubles import Handset, build, open_store, result_of, send_message

OURS = Hop("udp", "127.0.0.1", 5062)
PHONE = Hop("udp", "192.0.2.50", 5060)


@implementer(ILink)
class Loop:
    """Links of a node that is its own core: what it sends to itself comes back."""

    def __init__(self) -> None:
        self.node: Any = None
        self.source = OURS
        self.queue: list[tuple[Hop, bytes]] = []
        self.out: list[tuple[Hop, Request | Response]] = []
        self.answer = 200
        self.busy = False

    def sent_by(self, hop: Hop) -> str:
        return "127.0.0.1:5062"

    def send(self, hop: Hop, data: bytes) -> None:
        self.queue.append((hop, data))
        if self.busy:
            return
        self.busy = True
        while self.queue:
            target, data = self.queue.pop(0)
            message = parse(data)
            if target.port == OURS.port:
                source = self.source
                if target.transport == "tcp":
                    source = Hop("tcp", "127.0.0.1", 45678)
                self.node.ua.received(message, source)
                continue
            self.out.append((target, message))
            if isinstance(message, Request):
                self.node.ua.received(message.response(self.answer, tag="p"), target)
        self.busy = False


@pytest.fixture(params=[OURS, Hop("udp", "0.0.0.0", 5062)], ids=["loopback", "any"])
def loop(request, clock):
    loop = Loop()
    node = build(clock, loop, store=open_store(clock), sip={"core": "embedded"})  # type: ignore[arg-type]
    node.ua.attach("udp", loop)
    node.ua.attach("tcp", loop)
    node.listening([request.param, request.param._replace(transport="tcp")])
    yield loop
    result_of(node.stop())


class Phone:
    """A SIP user: answers challenges, and keeps what he is sent."""

    def __init__(self, loop: Loop, name: str, password: str | None = None) -> None:
        self.loop, self.name = loop, name
        self.account = Account(
            f"sip:{name}@example.com", name, password or f"{name}-sip"
        )
        self.count = 0

    def ask(self, method: str, uri: str, *lines: str, body: str = "") -> Response:
        for _ in range(3):
            response = self.once(method, uri, *lines, body=body)
            if response.status not in (401, 407):
                break
            if not self.account.challenged(response, {}):
                break
        return response

    def once(self, method: str, uri: str, *lines: str, body: str = "") -> Response:
        self.count += 1
        aor = f"sip:{self.name}@example.com"
        to = aor if method == "REGISTER" else uri
        head = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.50:5060;branch=z9hG4bK{self.name}{self.count}",
            f"From: <{aor}>;tag=1",
            f"To: <{to}>",
            f"Call-ID: {self.name}{self.count}",
            f"CSeq: {self.count} {method}",
            f"Content-Length: {len(body.encode())}",
            *lines,
            "",
            body,
        ]
        request = parse("\r\n".join(head).encode())
        assert isinstance(request, Request)
        self.account.authorize(request, lambda: "cnonce")
        known = len(self.loop.out)
        self.loop.node.ua.received(request, PHONE)
        found = [m for _, m in self.loop.out[known:] if isinstance(m, Response)]
        return found[-1]

    def register(self, *lines: str) -> Response:
        contact = f"Contact: <sip:{self.name}@192.0.2.50:5060>"
        return self.ask("REGISTER", "sip:example.com", *(lines or (contact,)))

    def write(self, to: str, text: str, *lines: str) -> int:
        kind = "Content-Type: text/plain"
        return self.ask("MESSAGE", to, kind, *lines, body=text).status

    def received(self) -> list[Request]:
        return [m for _, m in self.loop.out if isinstance(m, Request)]


@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE", "OPTIONS", "INVITE", "FOO"])
def test_every_method_is_challenged(loop, method):
    bob = Phone(loop, "bob")
    expected = 401 if method == "REGISTER" else 407
    response = bob.once(method, "sip:alice@example.com", "Content-Type: text/plain")
    assert response.status == expected
    kind = "WWW-Authenticate" if expected == 401 else "Proxy-Authenticate"
    assert digest.choose(response.headers.values(kind)) is not None


def test_a_wrong_password_and_another_users_name_do_not_do(loop):
    assert Phone(loop, "bob", "wrong").register().status == 401
    thief = Phone(loop, "bob")
    thief.account.user, thief.account.password = "carol", "carol-sip"
    assert thief.register().status == 401
    assert thief.write("sip:alice@example.com", "x") == 407


def test_messages_both_ways(loop):
    bob = Phone(loop, "bob")
    assert bob.register().status == 200
    alice = Handset(loop.node).open()
    assert alice.code(send_message("to bob", "wv:bob@example.com")) == 200
    [came] = bob.received()
    assert came.body == b"to bob"
    assert came.headers.get("P-Asserted-Identity") == "<sip:alice@example.com>"
    assert "Proxy-Authorization" not in came.headers
    assert bob.write("sip:alice@example.com", "to alice") == 200
    [offer] = alice.poll()
    primitive: Any = offer.primitive
    assert primitive.content_data == "to alice"
    assert primitive.message_info.sender.user.user_id == "wv:bob@example.com"


def test_a_long_message_goes_round_by_tcp(loop):
    bob = Phone(loop, "bob")
    assert bob.register().status == 200
    alice = Handset(loop.node).open()
    assert bob.write("sip:alice@example.com", "x" * 40_000) == 200
    [offer] = alice.poll()
    primitive: Any = offer.primitive
    assert primitive.content_data == "x" * 40_000


def test_identities_that_users_assert_are_stripped(loop):
    bob = Phone(loop, "bob")
    alice = Handset(loop.node).open()
    forged = "<sip:president@example.com>"
    lines = (f"P-Asserted-Identity: {forged}", f"P-Preferred-Identity: {forged}")
    assert bob.write("sip:alice@example.com", "x", *lines) == 200
    [offer] = alice.poll()
    primitive: Any = offer.primitive
    assert primitive.message_info.sender.user.user_id == "wv:bob@example.com"


def test_no_user_sees_what_another_prefers_to_be_called(loop):
    carol = Phone(loop, "carol")
    assert carol.register().status == 200
    bob = Phone(loop, "bob")
    forged = "P-Preferred-Identity: <sip:president@example.com>"
    assert bob.write("sip:carol@example.com", "x", forged) == 200
    [came] = carol.received()
    assert "P-Preferred-Identity" not in came.headers
    assert came.headers.get("P-Asserted-Identity") == "<sip:bob@example.com>"


@pytest.mark.parametrize(
    "route",
    [
        "<sip:127.0.0.1:5062;lr>",
        "<sip:203.0.113.1;lr>",
        "<sip:127.0.0.1:5062;lr>, <sip:203.0.113.1;lr>",
    ],
)
def test_preloaded_routes_lead_nowhere(loop, route):
    bob = Phone(loop, "bob")
    Handset(loop.node).open()
    assert bob.write("sip:alice@example.com", "x", f"Route: {route}") == 200
    assert bob.write("sip:nobody@example.com", "x", f"Route: {route}") == 404
    assert not any(hop.host == "203.0.113.1" for hop, _ in loop.out)


def test_nobody_from_outside_reaches_the_gateway_as_the_core(loop):
    """With an asserted identity and the gateway's own contact as target."""
    bob = Phone(loop, "bob")
    Handset(loop.node).open()
    lines = ("P-Asserted-Identity: <sip:carol@example.com>", "Content-Type: text/plain")
    response = bob.once("MESSAGE", "sip:alice@127.0.0.1:5062", *lines, body="x")
    assert response.status == 407


def test_who_is_away_gets_it_later_and_nobody_is_404(loop):
    bob = Phone(loop, "bob")
    assert bob.write("sip:alice@example.com", "later") == 202
    assert bob.write("sip:nobody@example.com", "x") == 404
    assert bob.write("sip:alice@elsewhere.example", "x") == 404
    [offer] = Handset(loop.node).open().poll()
    primitive: Any = offer.primitive
    assert primitive.content_data == "later"


def test_contacts_come_and_go(loop, clock):
    bob = Phone(loop, "bob")
    known = bob.register("Contact: <sip:bob@192.0.2.50>;expires=60")
    assert known.headers.get("Contact") == "<sip:bob@192.0.2.50>;expires=60"
    brief = bob.register("Contact: <sip:bob@192.0.2.50>;expires=5")
    assert (brief.status, brief.headers.get("Min-Expires")) == (423, "10")
    assert len(loop.node.core) == 1
    assert bob.register("Contact: *").status == 400
    assert bob.register("Contact: *", "Expires: 0").status == 200
    assert len(loop.node.core) == 0
    huge = bob.register("Contact: <sip:bob@192.0.2.50>;expires=" + "9" * 5000)
    assert huge.headers.get("Contact") == "<sip:bob@192.0.2.50>;expires=3600"


def test_the_number_of_contacts_is_bounded(loop):
    bob = Phone(loop, "bob")
    for number in range(20):
        response = bob.register(f"Contact: <sip:bob@192.0.2.50:{5060 + number}>")
    assert len(response.headers.values("Contact")) == 8
