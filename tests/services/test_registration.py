"""One binding a subscriber at the core, whatever the core and the network do."""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs, formatEvent

from gateway.csp.common import Disconnect
from gateway.errors import Unreachable
from gateway.services import registration
from gateway.sip.message import Request, Response
from tests.services.doubles import Core, Handset, result_of, subscriber
from tests.services.test_ledger import SEND

AOR = "sip:alice@example.com"


def registers(core: Core) -> list[Request]:
    return core.of("REGISTER")


def granting(seconds: str | None, *extra: tuple[str, str]):
    def script(request: Request) -> Response:
        response = request.response(200, tag="core")
        if request.method == "REGISTER" and request.headers.get("Expires") != "0":
            contact = request.headers.get("Contact") or ""
            value = contact if seconds is None else f"{contact};expires={seconds}"
            response.headers.set("Contact", value)
        for name, text in extra:
            response.headers.add(name, text)
        return response

    return script


@pytest.fixture
def node(make):
    """Start a node whose sessions last, and whose jitter stands in the middle."""
    node = make(session={"keep_alive_min": 86400, "keep_alive": 86400})
    node.registrations._spread = lambda low, high: (low + high) / 2
    return node


@pytest.mark.requirement("M-6.1.1.1-01", "M-6.1.1.1-02", "M-6.1.1.1-03")
def test_login_registers_and_logout_ends_it(core, node, alice):
    [first] = registers(core)
    assert first.uri == "sip:example.com"
    contact = str(first.headers.get("Contact"))
    assert "sip:alice@127.0.0.1:5062;transport=udp" in contact
    assert "+g.oma.sip-im" in contact and '+sip.instance="<urn:uuid:' in contact
    assert first.headers.get("Require") == "pref"
    assert first.headers.get("Expires") == "3600"
    alice.ask("<Logout-Request/>")
    assert [r.headers.get("Expires") for r in registers(core)] == ["3600", "0"]
    assert len(node.registrations) == 0


@pytest.mark.requirement("M-6.1.1.1-04", "M-6.1.1.2-01", "M-6.1.1.2-05")
def test_a_binding_is_refreshed_early_with_the_same_headers(clock, core, node):
    core.script = granting("600")
    Handset(node).open()
    clock.advance(600 * 0.65 + 1)
    first, second = registers(core)
    assert second.cseq.number > first.cseq.number
    assert second.call_id == first.call_id
    for name in ("Contact", "Require", "User-Agent", "Expires", "Supported"):
        assert second.headers.get(name) == first.headers.get(name)


@pytest.mark.requirement("M-6.1.1.3-01", "M-6.1.1.3-03")
def test_one_binding_serves_all_sessions(core, node, alice):
    other = Handset(node, client="http://handset.example.com/2").open()
    assert len(registers(core)) == 1
    alice.ask("<Logout-Request/>")
    assert len(registers(core)) == 1
    other.ask("<Logout-Request/>")
    assert [r.headers.get("Expires") for r in registers(core)] == ["3600", "0"]
    assert registers(core)[1].headers.get("Require") == "pref"


@pytest.mark.requirement("M-6.1.1.2-07", "M-6.1.1.1-05", "M-6.1.1.3-04")
def test_the_road_that_the_core_gives_is_taken(core, node):
    route = "<sip:orig@127.0.0.1:5060;lr>"
    core.script = granting("600", ("Service-Route", route))
    handset = Handset(node).open()
    handset.code(
        "<SendMessage-Request><DeliveryReport>F</DeliveryReport><MessageInfo><Recipient>"
        "<User><UserID>wv:dave@example.com</UserID></User></Recipient><Sender><User>"
        "<UserID>wv:alice@example.com</UserID></User></Sender><ContentSize>1"
        "</ContentSize></MessageInfo><ContentData>x</ContentData></SendMessage-Request>"
    )
    assert core.of("MESSAGE")[0].headers.values("Route") == [route]
    assert "path" in registers(core)[0].headers.values("Supported")
    handset.ask("<Logout-Request/>")
    assert "Route" not in registers(core)[-1].headers


def test_ids_outlive_the_node_and_no_cseq_is_used_twice(make, core, node, alice):
    before = registers(core)
    again = Core()
    make(core=again, store=node.store)
    after = registers(again)
    assert after[0].call_id == before[0].call_id
    assert after[0].cseq.number > before[-1].cseq.number
    instance = str(before[0].headers.get("Contact")).rpartition("instance=")[2]
    assert instance in str(after[0].headers.get("Contact"))


def test_a_core_that_is_back_hears_of_everyone_again(clock, core, alice):
    """It may have been started anew and have forgotten its contacts."""
    assert len(registers(core)) == 1
    core.script = lambda request: None
    alice.begin(alice.body(alice.transaction(SEND)))
    clock.pump([1] * 40)
    core.script = lambda request: 200
    clock.pump([1] * 60)
    assert len(registers(core)) == 2


@pytest.mark.parametrize(
    "seconds", ["0", "1", "-5", "soon", "9" * 5000, "99999999999", "\u0663", None]
)
def test_an_odd_expiry_makes_no_storm_and_no_stop(clock, core, node, seconds):
    core.script = granting(seconds)
    Handset(node).open()
    for _ in range(60):
        clock.advance(1)
    assert len(registers(core)) <= 60 / registration.SHORTEST + 1
    clock.pump([60] * 60)
    assert len(registers(core)) >= 2


def test_an_interval_too_brief_is_made_longer(core, node):
    def script(request):
        if request.method != "REGISTER" or request.headers.get("Expires") == "7200":
            return 200
        response = request.response(423, tag="core")
        response.headers.set("Min-Expires", "7200")
        return response

    core.script = script
    Handset(node).open()
    node.clock.advance(0)
    assert [r.headers.get("Expires") for r in registers(core)] == ["3600", "7200"]
    assert len(node.registrations) == 1


@pytest.mark.parametrize("least", ["", "1", "3600", "9" * 5000, "4000000000"])
def test_an_odd_minimum_makes_no_storm(clock, core, node, least):
    def script(request):
        if request.method != "REGISTER":
            return 200
        response = request.response(423, tag="core")
        response.headers.set("Min-Expires", least)
        return response

    core.script = script
    Handset(node).open()
    clock.pump([0.5] * 40)
    assert 2 <= len(registers(core)) < 8


@pytest.mark.parametrize("status", [403, 401])
def test_a_refusal_ends_the_session_with_601(clock, core, node, status):
    handset = Handset(node).open()
    core.script = lambda r: status if r.method == "REGISTER" else 200
    clock.advance(3600)
    [offered] = handset.poll()
    assert isinstance(offered.primitive, Disconnect)
    assert offered.primitive.result.code == 601
    assert node.sessions.count(AOR) == 0


@pytest.mark.parametrize(
    ("password", "cause"), [("", ", and the subscriber has no sip-password"), ("s", "")]
)
def test_a_refusal_names_whom_it_is_about_and_what_lacks(core, node, password, cause):
    result_of(
        node.store.add_subscribers(
            [subscriber("alice", sip_password=password)], replace=True
        )
    )
    core.script = lambda r: 401 if r.method == "REGISTER" else 200
    with capturedLogs() as events:
        Handset(node).open()
    line, *_ = [text for e in events if "REGISTER" in (text := formatEvent(e))]
    assert line.startswith("REGISTER of sip:alice@example.com refused with 401")
    assert line.endswith(cause or "401")


@pytest.mark.parametrize("status", [500, 503, 504, 404, 302, None])
def test_any_other_failure_is_tried_again_while_the_session_works(
    clock, core, node, status
):
    core.script = lambda r: status if r.method == "REGISTER" else 200
    handset = Handset(node).open()
    clock.pump([1.0] * 100)
    assert len(registers(core)) >= 2
    assert handset.poll() == []
    core.script = lambda r: 200
    clock.pump([10.0] * 60)
    assert len(node.registrations) == 1


def test_credentials_that_the_operator_changed_are_tried_first(core, node):
    changed = subscriber("alice", sip_password="new")
    seen = []

    def script(request):
        if request.method != "REGISTER":
            return 200
        seen.append(request)
        if len(seen) == 2:
            result_of(node.store.add_subscribers([changed], replace=True))
            return 403
        return 200

    core.script = script
    Handset(node).open()
    node.clock.advance(3600)
    node.clock.advance(0)
    assert len(seen) >= 3
    assert node.registrations.known(AOR).password == "new"
    assert node.sessions.count(AOR) == 1


def test_a_login_while_the_end_is_under_way_registers_again(clock, core, node, alice):
    core.script = lambda r: None
    alice.ask("<Logout-Request/>")
    Handset(node).open()
    core.script = lambda r: 200
    clock.pump([0.5] * 20)
    assert [r.headers.get("Expires") for r in registers(core)][-1] == "3600"
    assert len(node.registrations) == 1


def test_a_store_that_fails_stops_no_binding(clock, core, node, alice, monkeypatch):
    async def away(record):
        raise Unreachable("the store is down")

    with monkeypatch.context() as patch:
        patch.setattr(node.store, "save_registration", away)
        clock.advance(3600)
        assert len(registers(core)) == 1
    clock.pump([10.0] * 30)
    assert len(registers(core)) >= 2


def test_a_defect_stops_no_binding(clock, core, node, alice, monkeypatch, failures):
    async def broken(record):
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(node.store, "save_registration", broken)
        clock.advance(2400)
        assert len(registers(core)) == 1
    assert failures
    failures.clear()
    clock.pump([10.0] * 30)
    assert len(registers(core)) >= 2


def test_a_crash_in_the_middle_of_a_challenge_repeats_no_cseq(make, core, node):
    """The answer to the challenge went out, and the process died before its end."""

    def script(request):
        if request.headers.get("Authorization") is not None:
            return None
        response = request.response(401, tag="core")
        challenge = 'Digest realm="core", nonce="n1", qop="auth"'
        response.headers.set("WWW-Authenticate", challenge)
        return response

    core.script = script
    Handset(node).open()
    used = [request.cseq.number for request in registers(core)]
    assert len(used) == 2
    again = Core()
    make(core=again, store=node.store)
    assert registers(again)[0].cseq.number > max(used)
