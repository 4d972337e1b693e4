"""Random calls on a store and on a model of it in dictionaries: never a difference.

In memory, so that many sequences can be tried; the other tests run on real databases.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.store import Added, Duplicate, Full, Limits, SessionRecord, StoredMessage
from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore
from gateway.store.upkeep import Bounds
from tests.store.doubles import message, outcome, session

_numbers = st.integers(0, 5)
_boxes = st.sampled_from(["sip:alice@example.com", "sip:bob@example.com"])
_KEPT = 20


class StoreModel(RuleBasedStateMachine):
    """What the contract says, with the time as a plain number."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.store = SqlStore(
            "sqlite://",
            None,
            Secrets(b"k" * 32),
            lambda: self.now,
            Bounds(finished_for=_KEPT),
        )
        outcome(self.store.open())
        self.known: dict[str, StoredMessage] = {}
        self.keys: dict[str, str] = {}
        self.finished: dict[str, int] = {}
        self.sessions: dict[str, SessionRecord] = {}

    def teardown(self) -> None:
        """Let the database go."""
        outcome(self.store.close())

    def box(self, recipient: str) -> list[StoredMessage]:
        """What the model says waits for a handset, in order."""
        waiting = [
            each
            for each in self.known.values()
            if each.state is None
            and each.recipient == recipient
            and each.direction == "to_handset"
        ]
        return sorted(waiting, key=lambda each: (each.accepted_at, each.id))

    @rule(
        number=_numbers,
        recipient=_boxes,
        at=_numbers,
        size=st.integers(0, 4),
        key=st.none() | st.sampled_from(["k1", "k2"]),
        out=st.booleans(),
        limits=st.none()
        | st.builds(Limits, max_messages=_numbers, max_bytes=st.integers(0, 9)),
    )
    def add(self, number, recipient, at, size, key, out, limits):
        """Add a message."""
        new = message(
            number,
            recipient=recipient,
            accepted_at=at,
            expires_at=self.now + 5 + at,
            content=b"x" * size,
            inbound_key=key,
            direction="to_sip" if out else "to_handset",
            answer=200 + number,
        )
        box = self.box(recipient)
        expected: Added | Duplicate | Full = Added()
        if new.id in self.known:
            pass
        elif key in self.keys:
            first = self.keys[key]
            expected = Duplicate(self.known[first].answer, first)
        elif limits and (
            len(box) >= limits.max_messages
            or sum(len(each.content) for each in box) + size > limits.max_bytes
        ):
            expected = Full()
        else:
            self.known[new.id] = replace(new, inbound_key=None)
            if key is not None:
                self.keys[key] = new.id
        assert outcome(self.store.add_message(new, limits)) == expected

    def end(self, message_id, state, reason):
        """Give a message of the model its final state."""
        self.known[message_id] = replace(
            self.known[message_id],
            state=state,
            reason=reason,
            content=b"",
        )
        self.finished[message_id] = self.now

    @rule(number=_numbers, state=st.sampled_from(["delivered", "rejected", "failed"]))
    def finish(self, number, state):
        """Finish a message."""
        name = f"m{number}"
        first = name in self.known and self.known[name].state is None
        assert outcome(self.store.finish_message(name, state, "why")) is first
        if first:
            self.end(name, state, "why")

    @rule(step=st.integers(0, 8))
    def expire(self, step):
        """Let time pass and expire what is due."""
        self.now += step
        due = {
            each.id: each
            for each in self.known.values()
            if each.state is None
            and each.direction == "to_handset"
            and each.expires_at <= self.now
        }
        found = outcome(self.store.expire_messages(self.now))
        assert {each.id: each for each in found} == due
        for message_id in due:
            self.end(message_id, "expired", "")

    @rule()
    def sweep(self):
        """Forget what has been finished for long enough."""
        outcome(self.store.sweep(self.now))
        for message_id, at in list(self.finished.items()):
            if at < self.now - _KEPT:
                del self.known[message_id], self.finished[message_id]
                self.keys = {k: v for k, v in self.keys.items() if v != message_id}

    @rule(number=_numbers, epoch=st.integers(0, 2), activity=_numbers)
    def save(self, number, epoch, activity):
        """Save a session."""
        record = session(id=f"s{number}", epoch=epoch, last_activity=activity)
        ours = self.sessions.get(record.id, record).epoch == epoch
        assert outcome(self.store.save_session(record)) is ours
        if ours:
            self.sessions[record.id] = record

    @rule(number=_numbers, epoch=st.integers(0, 2))
    def end_session(self, number, epoch):
        """End a session."""
        name = f"s{number}"
        ours = name in self.sessions and self.sessions[name].epoch == epoch
        assert outcome(self.store.end_session(name, epoch, self.now)) is ours
        if ours:
            self.sessions[name] = replace(self.sessions[name], ended_at=self.now)

    @rule(number=_numbers)
    def claim(self, number):
        """Claim a session."""
        name = f"s{number}"
        if name in self.sessions:
            old = self.sessions[name]
            self.sessions[name] = replace(old, owner="n2", epoch=old.epoch + 1)
        assert outcome(self.store.claim(name, "n2")) == self.sessions.get(name)

    @invariant()
    def the_same_waits(self):
        """Compare all that can be read."""
        for recipient in ("sip:alice@example.com", "sip:bob@example.com"):
            found = outcome(self.store.messages(recipient))
            assert found == self.box(recipient)
        for name, one in self.known.items():
            assert outcome(self.store.message(name)) == one
        opened = [each for each in self.sessions.values() if each.ended_at is None]
        found_open = outcome(self.store.open_sessions())
        assert found_open == sorted(opened, key=lambda each: each.id)


TestStoreModel = StoreModel.TestCase
TestStoreModel.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
