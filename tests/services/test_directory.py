"""What the operator changes takes effect in the running service."""

from __future__ import annotations

import pytest

from gateway.errors import Unreachable
from tests.services.doubles import Handset, result_of, subscriber

ALICE = "sip:alice@example.com"


@pytest.fixture
def watched(alice, clock) -> Handset:
    """Give Alice's handset once the directory was looked at."""
    clock.advance(1)
    return alice


def test_a_subscriber_who_is_removed_hears_disconnect(watched, clock):
    assert result_of(watched.node.store.remove_subscriber(ALICE))
    clock.advance(1)
    (goodbye,) = watched.poll()
    assert goodbye.primitive.result.code == 601
    assert watched.code("<KeepAlive-Request/>") == 604


def test_a_subscriber_who_is_disabled_is_out_and_cannot_come_in(watched, clock):
    off = subscriber("alice", enabled=False)
    assert not result_of(watched.node.store.add_subscribers([off], replace=True))
    clock.advance(1)
    assert watched.code("<KeepAlive-Request/>") == 601
    assert watched.login().result.code == 531


def test_others_and_harmless_changes_stay(watched, clock):
    bob = Handset(watched.node, user="wv:bob@example.com", client="http://bob")
    bob.open()
    changed = subscriber("alice", msisdn="+358401234567")
    assert not result_of(watched.node.store.add_subscribers([changed], replace=True))
    assert result_of(watched.node.store.remove_subscriber("sip:carol@example.com"))
    clock.advance(1)
    assert watched.code("<KeepAlive-Request/>") == 200
    assert bob.code("<KeepAlive-Request/>") == 200


def test_a_store_that_is_away_ends_nobody(watched, clock, monkeypatch):
    async def away(*args):
        raise Unreachable("the store is away")

    monkeypatch.setattr(watched.node.store, "subscriber_revision", away)
    clock.pump([1, 1])
    assert watched.node.sessions.of(ALICE)
