"""The user agent: challenges, failed cores, long requests, and the end."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from gateway.errors import Unreachable
from gateway.services.account import Account
from gateway.services.ua import NoAnswer, UserAgent
from gateway.sip.digest import Challenger, parse_credentials
from gateway.sip.message import Request, Response
from gateway.sip.transaction import Hop
from gateway.translation.messaging import Content, Outgoing, to_sip
from tests.services.doubles import CORE, Core

OTHER = Hop("udp", "127.0.0.2", 5060)
SECRETS = {"alice": "alice-sip"}


class Side(Core):
    """A SIP side that also notes to which hop each request went."""

    def __init__(self, script=None) -> None:
        super().__init__(script)
        self.hops: list[Hop] = []
        self.ua: UserAgent | None = None

    def send(self, hop, data):
        self.hops.append(hop)
        super().send(hop, data)

    def receive(self, message, source=CORE):
        assert self.ua is not None
        self.ua.received(message, source)


class Guard:
    """Challenges as a registrar (401) and a proxy (407) do, counting strictly."""

    def __init__(self, clock, *statuses: int, stale: bool = True) -> None:
        self.clock = clock
        self.statuses = statuses
        self.challengers = {s: Challenger("core", b"%d" % s, 60.0) for s in statuses}
        self.stale = stale
        self.refused = 0
        self.nonces = 0

    def __call__(self, request: Request) -> Response | int:
        for status in self.statuses:
            kind = ("WWW-", "") if status == 401 else ("Proxy-", "Proxy-")
            now = self.clock.seconds()
            challenger = self.challengers[status]
            header = request.headers.get(f"{kind[1]}Authorization") or ""
            verdict = challenger.check(
                header, request.method, SECRETS.get, request.body, now
            )
            if not verdict.ok:
                self.refused += 1
                self.nonces += 1
                response = request.response(status, tag="c")
                stale = verdict.stale and self.stale
                value = challenger.challenge(now, f"n{self.nonces}", stale)
                response.headers.set(f"{kind[0]}Authenticate", value)
                return response
        return 200


@pytest.fixture
def side() -> Side:
    return Side()


@pytest.fixture
def ua(clock, side):
    tokens = iter(range(10**6))
    ua = UserAgent(clock, lambda: f"t{next(tokens)}", cores=[CORE])
    side.ua = ua
    ua.attach("udp", side)
    yield ua
    ua.stop()
    assert clock.getDelayedCalls() == []


def message(text: str = "hello") -> Request:
    return to_sip(
        Outgoing(
            sender="sip:alice@example.com",
            recipient="sip:bob@example.com",
            content=Content("text/plain", text.encode()),
            call_id="c1",
            tag="t1",
        )
    )


def alice(password: str = "alice-sip") -> Account:
    return Account("sip:alice@example.com", "alice", password)


def outcome(d: Deferred) -> list:
    found: list = []
    d.addBoth(found.append)
    return found


def statuses(found: list) -> list[int]:
    return [response.status for response in found]


# -- Digest


@pytest.mark.requirement("M-6.1.1.2-02", "M-6.1.1.2-04")
@pytest.mark.parametrize("kinds", [(401,), (407,), (401, 407), (407, 401)])
def test_every_challenger_is_answered(clock, ua, side, kinds):
    side.script = Guard(clock, *kinds)
    assert statuses(outcome(ua.request(message(), alice()))) == [200]
    assert [r.cseq.number for r in side.requests] == list(range(1, len(kinds) + 2))


@pytest.mark.parametrize("kinds", [(401,), (401, 407)])
def test_a_nonce_serves_again_with_the_next_count(clock, ua, side, kinds):
    side.script = guard = Guard(clock, *kinds)
    account = alice()
    for _ in range(5):
        assert statuses(outcome(ua.request(message(), account))) == [200]
    assert guard.refused == len(kinds)
    header = side.requests[-1].headers.get(
        "Proxy-Authorization" if 407 in kinds else "Authorization"
    )
    assert parse_credentials(header)["nc"] == "00000005"


@pytest.mark.parametrize("kinds", [(), (407,), (401, 407)])
def test_a_message_has_the_same_cseq_when_its_challenges_are_known(
    clock, ua, side, kinds
):
    """A process that begins anew knows none: to the recipient it is one message."""
    side.script = Guard(clock, *kinds)
    account = alice()
    taken = []
    for known in (account, account, alice()):
        assert statuses(outcome(ua.request(message(), known))) == [200]
        taken.append(side.requests[-1].cseq.number)
    assert taken == [1 + len(kinds)] * 3


def test_what_only_a_registrar_asks_does_not_count_for_a_message(clock, ua, side):
    """Before the REGISTER and after it, the MESSAGE has one CSeq."""
    registrar, proxy = Guard(clock, 401), Guard(clock, 407)
    side.script = lambda r: (registrar if r.method == "REGISTER" else proxy)(r)
    account = alice()
    taken = []
    for _ in range(2):
        assert statuses(outcome(ua.request(message(), account))) == [200]
        taken.append(side.requests[-1].cseq.number)
        register = message()
        register.method = "REGISTER"
        register.headers.set("CSeq", "1 REGISTER")
        assert statuses(outcome(ua.request(register, account))) == [200]
    assert taken == [2, 2]


@pytest.mark.parametrize("stale", [True, False])
@pytest.mark.parametrize("kinds", [(407,), (401, 407)])
def test_a_nonce_that_is_too_old_is_renewed(clock, ua, side, kinds, stale):
    """Some cores never say stale: an old nonce refused is no wrong password."""
    side.script = guard = Guard(clock, *kinds, stale=stale)
    account = alice()
    outcome(ua.request(message(), account))
    clock.advance(61)
    assert statuses(outcome(ua.request(message(), account))) == [200]
    assert guard.refused == 2 * len(kinds)


def test_a_wrong_password_is_tried_once(clock, ua, side):
    side.script = Guard(clock, 407)
    assert statuses(outcome(ua.request(message(), alice("wrong")))) == [407]
    assert len(side.requests) == 2


def test_a_challenge_without_an_account_is_the_answer(clock, ua, side):
    side.script = Guard(clock, 407)
    found = outcome(ua.request(message(), Account("sip:alice@example.com")))
    assert statuses(found) == [407]
    assert len(side.requests) == 1


def test_a_challenge_of_another_scheme_is_the_answer(ua, side):
    def script(request):
        response = request.response(401, tag="c")
        response.headers.set("WWW-Authenticate", 'Basic realm="x"')
        return response

    side.script = script
    assert statuses(outcome(ua.request(message(), alice()))) == [401]


def test_one_nonce_for_two_requests_on_their_way(clock, ua, side):
    """A core that makes nonces of the time gives both the same: no refusal."""
    side.script = lambda request: None
    account = alice()
    found = [outcome(ua.request(message(), account)) for _ in range(2)]
    challenger = Challenger("core", b"s", 60.0)
    value = challenger.challenge(clock.seconds(), "n1")
    for request in list(side.requests):
        response = request.response(407, tag="c")
        response.headers.set("Proxy-Authenticate", value)
        side.receive(response)
    for request in side.requests[2:]:
        header = request.headers.get("Proxy-Authorization")
        verdict = challenger.check(header, "MESSAGE", SECRETS.get, b"", clock.seconds())
        side.receive(request.response(200 if verdict.ok else 407, tag="c"))
    assert [statuses(f) for f in found] == [[200], [200]]


# -- failed cores


def test_a_silent_core_is_passed_over_for_a_while(clock, ua, side):
    ua.set_cores([CORE, OTHER])
    side.script = lambda request: None if side.hops[-1] == CORE else 200
    found = outcome(ua.request(message(), alice()))
    clock.pump([0.5] * 64)
    assert statuses(found) == [200]
    side.hops.clear()
    assert statuses(outcome(ua.request(message(), alice()))) == [200]
    assert side.hops == [OTHER]
    clock.advance(31)
    side.script = lambda request: 200
    side.hops.clear()
    outcome(ua.request(message(), alice()))
    assert side.hops == [CORE]


def test_a_core_that_is_overloaded_is_left_for_as_long_as_it_says(clock, ua, side):
    ua.set_cores([CORE, OTHER])

    def script(request):
        if side.hops[-1] == OTHER:
            return 200
        response = request.response(503, tag="c")
        response.headers.set("Retry-After", "120 (maintenance);duration=60")
        return response

    side.script = script
    assert statuses(outcome(ua.request(message(), alice()))) == [200]
    clock.advance(119)
    side.hops.clear()
    outcome(ua.request(message(), alice()))
    assert side.hops == [OTHER]
    clock.advance(2)
    side.hops.clear()
    outcome(ua.request(message(), alice()))
    assert side.hops[0] == CORE


@pytest.mark.parametrize("value", ["soon", "", "-1", "9" * 400, "\u0663\u0663"])
def test_an_odd_retry_after_does_no_harm(clock, ua, side, value):
    def script(request):
        response = request.response(503, tag="c")
        response.headers.set("Retry-After", value)
        return response

    side.script = script
    assert statuses(outcome(ua.request(message(), alice()))) == [503]
    clock.advance(301)
    side.script = lambda request: 200
    assert statuses(outcome(ua.request(message(), alice()))) == [200]


def test_with_every_core_down_all_are_tried_and_then_it_fails(clock, ua, side):
    ua.set_cores([CORE, OTHER])
    side.script = lambda request: None
    found = outcome(ua.request(message(), alice()))
    clock.pump([0.5] * 130)
    assert found[0].check(NoAnswer)
    found = outcome(ua.request(message(), alice()))
    ua.transport_failed(CORE, "refused")
    ua.transport_failed(OTHER, "refused")
    assert found[0].check(Unreachable)


def test_without_any_core_it_fails(ua):
    ua.set_cores([])
    assert outcome(ua.request(message(), alice()))[0].check(Unreachable)


def test_without_a_listener_for_the_transport_it_fails(ua):
    ua.set_cores([Hop("tls", "127.0.0.1", 5061)])
    assert outcome(ua.request(message(), alice()))[0].check(Unreachable)


# -- long requests


def test_a_long_request_goes_by_tcp(ua, side):
    ua.attach("tcp", side)
    outcome(ua.request(message("x" * 40_000), alice()))
    assert side.hops == [CORE._replace(transport="tcp")]


def test_a_core_without_tcp_gets_a_long_datagram_and_stays_a_good_one(ua, side):
    ua.attach("tcp", side)
    side.script = lambda request: None if side.hops[-1].transport == "tcp" else 200
    found = outcome(ua.request(message("x" * 40_000), alice()))
    ua.transport_failed(CORE._replace(transport="tcp"), "refused")
    assert statuses(found) == [200]
    assert [hop.transport for hop in side.hops] == ["tcp", "udp"]
    assert ua._failed == {}


def test_what_fits_no_datagram_is_too_large(ua, side):
    assert statuses(outcome(ua.request(message("x" * 70_000), alice()))) == [513]
    assert side.requests == []


# -- peers


def test_a_stray_answer_is_dropped(ua, side):
    request = message()
    request.headers.set("Via", "SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bKnone")
    side.receive(request.response(200, tag="c"))
    assert side.responses == []


def test_a_request_before_the_service_is_ready_is_503(ua, side):
    request = message()
    request.headers.set("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1")
    side.receive(request)
    assert [r.status for r in side.responses] == [503]


def test_a_defect_in_a_handler_is_500(ua, side, failures):
    def broken(transaction, request, source):
        raise RuntimeError("a defect")

    ua.take = broken
    request = message()
    request.headers.set("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1")
    side.receive(request)
    assert [r.status for r in side.responses] == [500]
    assert len(failures) == 1
    failures.clear()


def test_the_end_fails_what_waits_and_sends_no_more(clock, ua, side):
    ua.set_cores([CORE, OTHER])
    side.script = lambda request: None
    found = outcome(ua.request(message(), alice()))
    ua.stop()
    assert found[0].check(Unreachable)
    assert len(side.requests) == 1
    assert outcome(ua.request(message(), alice()))[0].check(Unreachable)
    assert len(side.requests) == 1
    assert clock.getDelayedCalls() == []
