"""Subscribers: all or none, clashes named, passwords sealed, changes noticed."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import psycopg
import pytest

from gateway.errors import ConfigError, Refused
from gateway.store import Clash
from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore
from gateway.store.upkeep import Bounds
from tests.store.doubles import outcome, subscriber

MANY = 600


def test_a_subscriber_is_found_by_each_name(store):
    alice = subscriber(msisdn="+358401234567", sip_user="a", sip_password="s3cret")
    bob = subscriber("bob", enabled=False)
    assert outcome(store.add_subscribers([alice, bob])) == []
    assert outcome(store.subscriber(alice.aor)) == alice
    assert outcome(store.subscriber_by_user(bob.user_id)) == bob
    assert outcome(store.subscriber_by_msisdn("+358401234567")) == alice
    assert outcome(store.subscriber("sip:carol@example.com")) is None
    assert outcome(store.subscriber_by_user("wv:carol@example.com")) is None
    assert outcome(store.subscriber_by_msisdn("+1")) is None


@pytest.mark.parametrize("others", [0, MANY])
def test_all_are_added_or_none(store, others):
    outcome(store.add_subscribers([subscriber(msisdn="+358401234567")]))
    new = [subscriber(f"u{number}") for number in range(others)]
    new += [
        subscriber("bob", user_id="wv:alice@example.com"),
        subscriber("carol", msisdn="+358401234567"),
        subscriber("dave"),
        subscriber("dave", user_id="wv:other@example.com"),
    ]
    clashes = [
        Clash(index=others, field="user_id", value="wv:alice@example.com"),
        Clash(index=others + 1, field="msisdn", value="+358401234567"),
        Clash(index=others + 3, field="aor", value="sip:dave@example.com"),
    ]
    assert outcome(store.clashes(new)) == clashes
    assert outcome(store.add_subscribers(new)) == clashes
    assert outcome(store.counts())["subscribers"] == 1


def test_subscribers_may_swap_their_numbers_when_replaced(store):
    alice, bob = subscriber(msisdn="+1"), subscriber("bob", msisdn="+2")
    outcome(store.add_subscribers([alice, bob]))
    swapped = [replace(alice, msisdn="+2"), replace(bob, msisdn="+1")]
    assert outcome(store.add_subscribers(swapped, replace=True)) == []
    assert outcome(store.subscriber_by_msisdn("+1")).aor == bob.aor


def test_a_replacement_may_not_take_what_a_third_one_has(store):
    outcome(store.add_subscribers([subscriber(), subscriber("bob", msisdn="+2")]))
    wish = [subscriber(msisdn="+2")]
    clash = Clash(index=0, field="msisdn", value="+2")
    assert outcome(store.add_subscribers(wish, replace=True)) == [clash]
    assert outcome(store.subscriber("sip:alice@example.com")).msisdn is None


def test_the_table_has_a_limit(make, url):
    store = make(url, Bounds(subscribers=2))
    with pytest.raises(Refused, match="2 subscribers"):
        outcome(store.add_subscribers([subscriber(f"u{n}") for n in range(3)]))
    assert outcome(store.counts())["subscribers"] == 0
    new = [subscriber(f"u{n}") for n in range(2)]
    assert outcome(store.add_subscribers(new)) == []
    # A replacement needs no more room.
    assert outcome(store.add_subscribers(new, replace=True)) == []


def test_pages_are_in_order_of_the_aor(store):
    outcome(store.add_subscribers([subscriber(name) for name in ("c", "a", "b")]))
    page = outcome(store.subscribers(limit=2))
    assert [each.user_id[3] for each in page] == ["a", "b"]
    rest = outcome(store.subscribers(page[-1].aor))
    assert [each.user_id[3] for each in rest] == ["c"]


def test_each_change_raises_the_revision(store):
    seen = [outcome(store.subscriber_revision())]
    outcome(store.add_subscribers([subscriber()]))
    seen.append(outcome(store.subscriber_revision()))
    outcome(store.add_subscribers([subscriber(enabled=False)], replace=True))
    seen.append(outcome(store.subscriber_revision()))
    assert outcome(store.remove_subscriber("sip:alice@example.com"))
    seen.append(outcome(store.subscriber_revision()))
    assert seen == sorted(set(seen))
    # What changes nothing does not.
    assert not outcome(store.remove_subscriber("sip:alice@example.com"))
    outcome(store.add_subscribers([]))
    assert outcome(store.subscriber_revision()) == seen[-1]


def test_another_process_sees_the_change(make, url):
    service, command = make(url), make(url)
    before = outcome(service.subscriber_revision())
    outcome(command.add_subscribers([subscriber()]))
    assert outcome(service.subscriber_revision()) > before
    assert outcome(service.subscriber("sip:alice@example.com")) is not None


def stored_passwords(url: str) -> list[str]:
    query = "SELECT password, sip_password FROM subscribers"
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        rows = connection.execute(query).fetchall()
        connection.close()
    else:
        with psycopg.connect(url) as server:
            rows = server.execute(query).fetchall()
    return [text for row in rows for text in row]


def test_no_password_is_in_clear_at_rest(store, url):
    new = subscriber(password="hush1", sip_password="hush2")
    outcome(store.add_subscribers([new]))
    texts = stored_passwords(url)
    assert len(texts) == 2
    assert not any("hush" in text for text in texts)
    assert "hush" not in repr(new)


def test_a_store_does_not_open_with_another_key(store, url, now):
    outcome(store.add_subscribers([subscriber()]))
    stranger = SqlStore(url, None, Secrets(b"x" * 32), now)
    with pytest.raises(ConfigError, match=r"gateway\.state_dir.*secret\.key"):
        outcome(stranger.open())
