"""The accounts of a load: who sent what, who heard what about it, what arrived.

A text is ``SENDER>RECIPIENT NUMBER``, so that what arrives tells whose it is and where
it belongs in its line. Everything that contradicts docs/semantics.md is written down as
a fault, with the texts concerned.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """How one message stands in the store; ``state`` is None while it waits."""

    direction: str
    recipient: str
    state: str | None
    reason: str
    finished_at: int | None


@dataclass(slots=True)
class Entry:
    """One text: how often it was tried, and under which ids it arrived.

    ``ids`` are MessageIDs at handsets; Call-ID, CSeq and From tag at SIP users.
    ``settled``: the way to the SIP side has ended thus, so that it must not come there
    once more. ``reported``: its sender was told later that it did not arrive.
    ``trail``: each arrival, in words.
    """

    tries: int = 0
    acknowledged: bool = False
    settled: str = ""
    reported: bool = False
    ids: dict[str, int] = field(default_factory=dict)
    trail: list[str] = field(default_factory=list)


def line_of(text: str) -> tuple[str, int]:
    """Give the line of a text, sender and recipient, and its place therein."""
    line, _, number = text.rpartition(" ")
    return line, int(number)


class Ledger:
    """The accounts of all senders and recipients; they are threads of one process."""

    def __init__(self, *, copies: bool = False) -> None:
        self.copies = copies
        """Whether the core may hold copies of what a dead service sent, and bring them
        late: their ids tell the recipient that he has them."""
        self.entries: dict[str, Entry] = {}
        self.faults: list[str] = []
        self.confirmed: set[str] = set()
        """Ids whose confirmation was answered: never to be seen again."""
        self.repeats = 0
        """How often something arrived that had arrived before."""
        self._lock = threading.RLock()
        self._last: dict[str, int] = defaultdict(int)
        self._named: dict[str, str] = {}
        self._rows: dict[str, Row] = {}

    def fault(self, text: str) -> None:
        """Note what must not be."""
        with self._lock:
            self.faults.append(text)

    # -- senders

    def tried(self, text: str) -> None:
        """Note that a text is about to be sent, as a message of its own."""
        with self._lock:
            self.entries.setdefault(text, Entry()).tries += 1

    def acknowledged(self, text: str, message_id: str = "") -> None:
        """Note that its sender was told that a text is taken over."""
        with self._lock:
            self.entries[text].acknowledged = True
            if message_id:
                self._named[message_id] = text

    def reported(self, message_id: str) -> None:
        """Note a DeliveryReport about a text that was taken over."""
        with self._lock:
            text = self._named.get(message_id)
            if text is None:
                self.fault(f"a report about {message_id}, which nobody was told of")
            else:
                self.entries[text].reported = True

    @property
    def acknowledgements(self) -> int:
        """How many texts were taken over."""
        with self._lock:
            return sum(entry.acknowledged for entry in self.entries.values())

    # -- recipients

    def came(self, recipient: str, text: str, number: str, *, sip: str = "") -> None:
        """Note that a text arrived under an id, for the first time or again.

        ``sip`` tells one SIP request of that id from another.
        """
        with self._lock:
            entry = self.entries.get(text)
            if entry is None:
                self.fault(f"nobody sent {text!r}")
                return
            entry.trail.append(f"{time.time():.3f} {number} {sip}")
            line, place = line_of(text)
            if not line.endswith(f">{recipient}"):
                self.fault(f"{recipient} got {text!r}")
            late = sip and entry.settled and not self.copies
            if number in self.confirmed or late:
                end = f"after its end ({entry.settled or 'confirmed'})"
                self.fault(f"{text!r} came {end}: {entry.trail}")
            if entry.ids:
                self.repeats += 1
            elif place <= self._last[line]:
                self.fault(f"{text!r} came after {line} {self._last[line]}")
            self._last[line] = max(self._last[line], place)
            entry.ids[number] = entry.ids.get(number, 0) + 1

    def confirm(self, number: str) -> None:
        """Note that the confirmation of an id was answered."""
        with self._lock:
            self.confirmed.add(number)

    # -- the store

    def stands(self, rows: dict[str, Row]) -> None:
        """Compare the store, while the service is dead, with how it stood before.

        What is finished stays as it is, and is never offered again.
        """
        with self._lock:
            for number, row in rows.items():
                if row.state is None:
                    continue
                before = self._rows.get(number)
                if before is not None and before.state is not None and before != row:
                    self.fault(f"{number} ended twice: {before} and {row}")
                if row.direction == "to_handset":
                    self.confirmed.add(number)
                elif number in self._named:
                    # Tried once, it has one id; with more, which one this is that
                    # ended is not to be told from outside.
                    entry = self.entries[self._named[number]]
                    if entry.tries == 1:
                        ended = (row.finished_at or 0) / 1e6
                        words = f"{ended:.3f} {number} {row.state} {row.reason}"
                        entry.settled = f"{words}, seen {time.time():.3f}"
            for number in self._rows.keys() - rows.keys():
                self.fault(f"{number} is gone: {self._rows[number]}")
            self._rows = rows

    # -- the end

    def missing(self) -> list[str]:
        """List what was taken over and did not arrive."""
        with self._lock:
            return sorted(
                text
                for text, entry in self.entries.items()
                if entry.acknowledged and not (entry.ids or entry.reported)
            )

    def close(self) -> list[str]:
        """List every fault, once nothing waits any more."""
        with self._lock:
            faults = list(self.faults)
            faults += [f"{text!r} is lost" for text in self.missing()]
            faults += [
                f"{text!r}, tried {entry.tries} times, came as {sorted(entry.ids)}"
                for text, entry in self.entries.items()
                if len(entry.ids) > entry.tries
            ]
            faults += [
                f"{text!r} was reported as failed, and came as {sorted(entry.ids)}"
                for text, entry in self.entries.items()
                if entry.reported and len(entry.ids) >= entry.tries
            ]
            faults += [
                f"{number} has not ended: {row}"
                for number, row in self._rows.items()
                if row.state is None
            ]
            return faults
