"""Messages from the store while other things happen: slow reads, absent stores."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred

from gateway.csp.schema import Version
from gateway.errors import Unreachable
from tests.services.doubles import Handset, message_to, result_of, send_message


class SlowReads:
    """Holds the pages of a store back until the test lets them go."""

    def __init__(self, store: Any) -> None:
        self._messages = store.messages
        self.held: list[tuple[Deferred[Any], Any]] = []
        store.messages = self.messages

    async def messages(self, *args: Any) -> Any:
        page = await self._messages(*args)
        d: Deferred[Any] = Deferred()
        self.held.append((d, page))
        return await d

    def release(self) -> None:
        while self.held:
            d, page = self.held.pop(0)
            d.callback(page)


def contents(handset: Handset) -> list[str]:
    """Take and confirm all there is; the reply to a confirmation brings the next."""
    found: list[str] = []
    offers = handset.poll()
    while offers:
        primitive: Any = offers[0].primitive
        found.append(primitive.content_data)
        reply = handset.confirm(offers[0])
        offers = list(reply.transactions) if reply is not None else handset.poll()
    return found


def test_what_was_confirmed_during_a_read_is_not_offered(core, node, alice):
    """A page read before the confirmation still names the message."""
    core.ask(message_to("alice", "x"))
    [offer] = alice.poll()
    slow = SlowReads(node.store)
    other = Handset(node, client="http://h/2").open()
    alice.confirm(offer)
    slow.release()
    assert contents(other) == []


def test_what_arrives_during_a_read_comes_after_it_and_once(core, node):
    for text in ("1", "2"):
        core.ask(message_to("alice", text))
    slow = SlowReads(node.store)
    alice = Handset(node).open()
    core.ask(message_to("alice", "3"))
    slow.release()
    assert contents(alice) == ["1", "2", "3"]


def test_what_expired_during_a_read_is_not_offered(clock, core, node):
    core.ask(message_to("alice", "x", Expires="30"))
    slow = SlowReads(node.store)
    alice = Handset(node).open()
    clock.pump([5.0] * 8)
    slow.release()
    assert contents(alice) == []


def test_a_store_that_is_away_at_login_is_read_later(core, node, monkeypatch):
    core.ask(message_to("alice", "x"))

    async def away(*args: Any) -> None:
        raise Unreachable("the store is down")

    with monkeypatch.context() as patch:
        patch.setattr(node.store, "messages", away)
        alice = Handset(node).open()
        assert alice.poll() == []
    assert contents(alice) == ["x"]


def test_more_than_a_session_holds_comes_in_order(core, make):
    node = make(session={"queue": 4}, offline={"max_messages": 100})
    texts = [str(number) for number in range(25)]
    for text in texts[:15]:
        core.ask(message_to("alice", text))
    alice = Handset(node).open()
    for text in texts[15:]:
        core.ask(message_to("alice", text))
    assert contents(alice) == texts


def test_messages_of_one_instant_come_in_order(clock, core, node):
    texts = [str(number) for number in range(20)]
    begun = clock.seconds()
    for text in texts:
        core.receive(message_to("alice", text))
    assert clock.seconds() == begun
    assert contents(Handset(node).open()) == texts


def test_a_session_that_gains_the_highest_priority_gets_what_waits(core, node):
    low = Handset(node, version=Version.V1_3, client="http://h/1")
    low.open(extra="<SessionPriority>5</SessionPriority>")
    core.ask(message_to("alice", "x"))
    late = Handset(node, version=Version.V1_3, client="http://h/2")
    late.login()
    assert node.sessions.count("sip:alice@example.com") == 2
    assert late.poll() == []
    late.negotiate(extra="<SessionPriority>9</SessionPriority>")
    assert contents(late) == ["x"]
    assert contents(low) == []


def test_a_report_for_a_sender_who_is_away_is_kept_from_others(
    clock, core, node, alice
):
    core.script = lambda r: None if r.method == "MESSAGE" else 200
    alice.begin(alice.body(alice.transaction(send_message("x"))))
    clock.advance(8.1)
    bob = Handset(node, "wv:bob@example.com").open()
    core.receive(core.of("MESSAGE")[0].response(404, tag="c"))
    assert bob.poll() == []
    [offer] = alice.poll()
    assert offer.primitive.NAME == "DeliveryReport-Request"


def test_nobody_can_foretell_a_branch(core, node, alice):
    """Whoever sees one request must not be able to answer the next one."""
    for number in range(3):
        assert alice.code(send_message(str(number))) == 200
    branches = [
        re.findall(r"branch=z9hG4bK(\w+)", request.headers.get("Via") or "")[0]
        for request in core.requests
    ]
    assert len(set(branches)) == len(branches)
    for one, two in zip(branches, branches[1:], strict=False):
        common = next(
            (i for i in range(len(one)) if one[i : i + 1] != two[i : i + 1]), 99
        )
        assert len(one) >= 22 and common < 8


def test_a_restart_offers_what_was_not_confirmed(core, make, node, alice):
    core.ask(message_to("alice", "x"))
    assert len(alice.poll()) == 1
    later = make(store=node.store)
    alice.node = later
    assert contents(alice) == ["x"]
    assert result_of(node.store.messages("sip:alice@example.com")) == []
