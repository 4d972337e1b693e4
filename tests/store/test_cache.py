"""Subscribers in memory: asked for once, forgotten when changed, bounded."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from gateway.errors import Unreachable
from gateway.store import Subscriber
from gateway.store.cache import SubscriberCache
from tests.store.doubles import outcome, subscriber


class Directory:
    """A database of subscribers that counts what it is asked."""

    def __init__(self) -> None:
        self.now, self.current, self.away = 0.0, 1, False
        self.people = {"alice": subscriber()}
        self.loads: list[str] = []
        self.checks = 0

    async def revision(self) -> int:
        self.checks += 1
        if self.away:
            raise Unreachable("away")
        return self.current

    async def load(self, name):
        self.loads.append(name)
        return self.people.get(name)

    def cache(self, **options) -> SubscriberCache:
        return SubscriberCache(self.revision, lambda: self.now, **options)


def ask(cache, directory, name="alice"):
    return outcome(cache.get(name, lambda: directory.load(name)))


def test_what_is_known_is_not_asked_again():
    directory = Directory()
    cache = directory.cache()
    for _ in range(3):
        assert ask(cache, directory) == subscriber()
        assert ask(cache, directory, "nobody") is None
    assert directory.loads == ["alice", "nobody"]
    assert directory.checks == 1


def test_a_change_elsewhere_is_seen_within_a_moment():
    directory = Directory()
    cache = directory.cache()
    ask(cache, directory)
    directory.people["alice"] = subscriber(enabled=False)
    directory.current += 1
    directory.now = 0.19
    assert ask(cache, directory).enabled
    directory.now = 0.2
    assert not ask(cache, directory).enabled


def test_without_a_change_nothing_is_loaded_again():
    directory = Directory()
    cache = directory.cache()
    for second in range(5):
        directory.now = float(second)
        ask(cache, directory)
    assert directory.loads == ["alice"]
    assert directory.checks == 5


def test_what_was_loaded_during_a_change_is_not_kept():
    directory = Directory()
    cache = directory.cache()
    answer: Deferred[Subscriber | None] = Deferred()
    results: list[object] = []
    asked = Deferred.fromCoroutine(cache.get("alice", lambda: answer))
    asked.addCallback(results.append)
    cache.clear()
    answer.callback(subscriber(enabled=False))
    assert results == [subscriber(enabled=False)]
    assert ask(cache, directory) == subscriber()


def test_while_the_database_is_away_what_is_known_serves():
    directory = Directory()
    cache = directory.cache()
    ask(cache, directory)
    directory.away, directory.now = True, 10.0
    assert ask(cache, directory) == subscriber()
    assert directory.loads == ["alice"]


def test_strangers_do_not_fill_the_memory():
    directory = Directory()
    cache = directory.cache(most=10)
    for number in range(100):
        ask(cache, directory, f"stranger{number}")
        assert len(cache) <= 10


def test_the_service_sees_what_the_command_line_changed(threaded, clock, make, url):
    alice = subscriber()
    assert clock.wait(threaded.subscriber(alice.aor)) is None
    outcome(make(url).add_subscribers([alice]))
    clock.advance(0.2)
    assert clock.wait(threaded.subscriber(alice.aor)) == alice
    assert clock.wait(threaded.subscriber_by_user(alice.user_id)) == alice
    assert clock.wait(threaded.counts())["subscribers_cached"] == 2
    # Its own changes it sees at once.
    assert clock.wait(threaded.remove_subscriber(alice.aor))
    assert clock.wait(threaded.subscriber(alice.aor)) is None
    assert clock.wait(threaded.subscriber_by_user(alice.user_id)) is None
