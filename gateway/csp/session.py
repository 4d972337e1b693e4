"""One CSP session: what was agreed, what was answered, what waits to be offered.

No I/O and no clock: the time comes in as seconds since the epoch, and what goes out is
a list of transactions for the next reply. Rules: docs/semantics.md 2 (repeats),
4 (offers) and 5 (state); transport binding 1.3 chapter 6.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.csp.envelope import Mode, Transaction, Version
from gateway.csp.negotiation import Agreed
from gateway.csp.schema import Primitive

REPEAT_WINDOW = 600.0
"""Seconds in which the same TransactionID with the same primitive is a repeat."""
KEPT_ANSWERS = 32
RETRY_WINDOW = 60.0
"""Seconds in which a request whose reply was lost may come again under a new id."""
OFFER_AGAIN = 30.0
"""Seconds after which an offer without confirmation is repeated."""
OFFER_TIMES = 3
LAST_ID = 999


@dataclass(slots=True)
class Answer:
    """The answer to one client request, perhaps still being worked out."""

    key: int
    at: float
    primitive: Primitive | None = None
    waiting: list[Callable[[Primitive], None]] | None = None

    def give(self, primitive: Primitive) -> None:
        """Set the answer and wake those who repeated the request meanwhile."""
        self.primitive = primitive
        waiting, self.waiting = self.waiting, None
        for wake in waiting or ():
            wake(primitive)


@dataclass(slots=True)
class Offer:
    """One server transaction for this handset, until it is confirmed.

    ``key`` names what is offered (a message id, for messages), ``size`` is about how
    many bytes it takes in a reply.
    """

    key: str
    primitive: Primitive
    size: int = 0
    transaction_id: str = ""
    at: float = 0.0
    times: int = 0


@dataclass(slots=True)
class Session:
    """The state of one session of one handset (semantics 5)."""

    id: str
    aor: str
    user: str
    client_id: str
    version: Version
    cookie: str = ""
    bearer: str = "HTTP"
    keep_alive: int = 600
    last_activity: float = 0.0
    saved_activity: float = 0.0
    epoch: int = 0
    agreed: Agreed = field(default_factory=Agreed)
    services: frozenset[str] | None = None
    syntax: str = ""
    ready: bool = False
    queue_limit: int = 255
    _queue: deque[Offer] | None = None
    _offered: OrderedDict[str, Offer] | None = None
    _answers: OrderedDict[str, Answer] | None = None
    _lost: list[tuple[int, Answer]] | None = None
    _last_id: int = 0

    # -- life --------------------------------------------------------------------

    def expires_at(self) -> float:
        """Give the time at which the session ends when nothing more is heard."""
        return self.last_activity + self.keep_alive

    # -- client requests ---------------------------------------------------------

    def begin(self, transaction_id: str, key: int, now: float) -> tuple[Answer, bool]:
        """Open a client request; tell whether it repeats an earlier one.

        A repeat has the same id and the same content (``key``) within ten minutes; the
        same id with other content is a new transaction, because ids wrap at 999.
        """
        answers = self._answers
        if answers is None:
            answers = self._answers = OrderedDict()
        known = answers.get(transaction_id)
        if known is not None:
            if known.key == key and now - known.at < REPEAT_WINDOW:
                return known, True
            del answers[transaction_id]
        answer = Answer(key, now)
        answers[transaction_id] = answer
        if len(answers) > KEPT_ANSWERS:
            answers.popitem(last=False)
        return answer, False

    def lose(self, content: int, answer: Answer) -> None:
        """Note that this answer could not be written to the handset."""
        lost = self._lost = self._lost or []
        lost.append((content, answer))
        del lost[:-KEPT_ANSWERS]

    @property
    def has_lost(self) -> bool:
        """Whether some answer could not be written, so that a retry may come."""
        return bool(self._lost)

    def found_again(self, content: int, now: float) -> Answer | None:
        """Give the answer that was lost for a request of the same content, once."""
        self._lost = [x for x in self._lost or () if now - x[1].at < RETRY_WINDOW]
        for index, (key, answer) in enumerate(self._lost):
            if key == content:
                del self._lost[index]
                return answer
        return None

    # -- server transactions -----------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many offers were never made yet."""
        return len(self._queue) if self._queue else 0

    @property
    def open_offers(self) -> int:
        """How many offers wait, made or not."""
        return self.waiting + len(self._offered or ())

    def offer(self, offer: Offer) -> bool:
        """Queue one server transaction; False when the queue is full."""
        if self.open_offers >= self.queue_limit:
            return False
        if self._queue is None:
            self._queue = deque()
        self._queue.append(offer)
        return True

    def offers(self) -> list[Offer]:
        """Give every offer, made or not."""
        return [*(self._offered or {}).values(), *(self._queue or ())]

    def withdraw(self, key: str) -> None:
        """Forget what is offered under that key: it was settled elsewhere."""
        for transaction_id, offer in list((self._offered or {}).items()):
            if offer.key == key:
                del self._offered[transaction_id]  # type: ignore[union-attr]
        if self._queue and any(o.key == key for o in self._queue):
            self._queue = deque(o for o in self._queue if o.key != key)

    def confirmed(self, transaction_id: str | None) -> Offer | None:
        """Take the offer that a client response with that id answers."""
        if self._offered is None or transaction_id is None:
            return None
        return self._offered.pop(transaction_id, None)

    def due(self, room: int, space: int, now: float) -> list[Transaction]:
        """Give the server transactions that ride in the next reply.

        First what was offered and not confirmed for thirty seconds, under its old id
        and at most three times; then what waits. At most ``room`` transactions and
        ``space`` bytes, but always one when there is room.
        """
        out: list[Transaction] = []
        for offer in self._again(now):
            if not _fits(offer, out, room, space):
                return out
            space -= offer.size
            self._offered_now().move_to_end(offer.transaction_id)
            out.append(self._make(offer, now))
        queue = self._queue
        while queue and _fits(queue[0], out, room, space):
            offer = queue.popleft()
            space -= offer.size
            offer.transaction_id = self._new_id()
            self._offered_now()[offer.transaction_id] = offer
            out.append(self._make(offer, now))
        return out

    def take_back(self, transaction_ids: list[str]) -> None:
        """Undo offers whose reply was never written: they do not count."""
        for transaction_id in reversed(transaction_ids):
            offer = self.confirmed(transaction_id)
            if offer is not None:
                offer.times -= 1
                if self._queue is None:
                    self._queue = deque()
                self._queue.appendleft(offer)

    def _again(self, now: float) -> list[Offer]:
        offered = self._offered
        if not offered:
            return []
        due = []
        for offer in offered.values():  # oldest first: every repeat moves to the end
            if now - offer.at < OFFER_AGAIN:
                break
            due.append(offer)
        for offer in due:
            if offer.times >= OFFER_TIMES:
                del offered[offer.transaction_id]
        return [offer for offer in due if offer.times < OFFER_TIMES]

    def _make(self, offer: Offer, now: float) -> Transaction:
        offer.at = now
        offer.times += 1
        return Transaction(
            id=offer.transaction_id, mode=Mode.REQUEST, primitive=offer.primitive
        )

    def _offered_now(self) -> OrderedDict[str, Offer]:
        if self._offered is None:
            self._offered = OrderedDict()
        return self._offered

    def _new_id(self) -> str:
        taken = self._offered_now()
        for _ in range(LAST_ID):
            self._last_id = self._last_id % LAST_ID + 1
            if str(self._last_id) not in taken:
                break
        return str(self._last_id)


def _fits(offer: Offer, out: list[Transaction], room: int, space: int) -> bool:
    return len(out) < room and (not out or offer.size <= space)
