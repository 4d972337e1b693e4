"""One CSP session: what was agreed, what was answered, what waits to be offered.

No I/O and no clock: the time comes in as seconds since the epoch, and what goes out is
a list of transactions for the next reply. Rules: docs/semantics.md 2 (repeats),
4 (offers) and 5 (state); transport binding 1.3 chapter 6.
"""

from __future__ import annotations

from collections import OrderedDict
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
    """The answer to one client request, perhaps still being worked out.

    While it is, ``request`` is what is asked and ``abandoned`` tells whether the
    connection that waits for it is gone; ``retried``: the handset asked again.
    """

    key: int
    at: float
    primitive: Primitive | None = None
    request: Primitive | None = None
    abandoned: Callable[[], bool] | None = None
    retried: bool = False
    waiting: list[Callable[[Primitive], None]] | None = None

    def follow(self, other: Answer) -> None:
        """Become what another answer is, or will be."""
        if other.primitive is not None:
            self.give(other.primitive)
        else:
            other.waiting = other.waiting or []
            other.waiting.append(self.give)

    def give(self, primitive: Primitive) -> None:
        """Set the answer and wake those who repeated the request meanwhile."""
        self.primitive = primitive
        self.request = self.abandoned = None
        waiting, self.waiting = self.waiting, None
        for wake in waiting or ():
            wake(primitive)


@dataclass(slots=True)
class Offer:
    """One server transaction for this handset, until it is confirmed.

    ``key`` names what is offered (a message id, for messages). ``form`` gives the
    primitive and about how many bytes it takes in a reply; it is asked when the offer
    is made and not when it is queued, because what was agreed may change meanwhile.
    """

    key: str
    form: Callable[[], tuple[Primitive, int]]
    primitive: Primitive | None = None
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
    behind: tuple[int, str] | None = None
    """After which stored message the queue was too full: the next ones are read from
    there once there is room."""
    working: int = 0
    """Requests that are being worked on."""
    paid_until: float = 0.0
    """Until when the time is used up that what was asked so far may cost."""
    _queue: OrderedDict[str, Offer] | None = None
    _offered: OrderedDict[str, Offer] | None = None
    _answers: OrderedDict[str, Answer] | None = None
    _lost: list[tuple[int, Answer]] | None = None
    _last_id: int = 0

    def __post_init__(self) -> None:
        # Another node may have offered under the first ids just now, and the handset
        # may still answer those: a number for each epoch, prime to the 999 ids.
        self._last_id = self.epoch * 331 % LAST_ID

    # -- life --------------------------------------------------------------------

    def expires_at(self) -> float:
        """Give the time at which the session ends when nothing more is heard."""
        return self.last_activity + self.keep_alive

    # -- client requests ---------------------------------------------------------

    def spend(self, cost: float, burst: float, now: float) -> bool:
        """Pay seconds of this session's time; False when it is ``burst`` ahead."""
        start = max(self.paid_until, now)
        if start > now + burst:
            return False
        self.paid_until = start + cost
        return True

    def knows(self, transaction_id: str | None, key: int, now: float) -> bool:
        """Tell whether a request repeats an earlier one; see ``begin``."""
        if self._answers is None:
            return False
        known = self._answers.get(transaction_id or "")
        return known is not None and self._repeats(known, key, now)

    def _repeats(self, known: Answer, key: int, now: float) -> bool:
        return known.key == key and now - known.at < REPEAT_WINDOW

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
            if self._repeats(known, key, now):
                return known, True
            del answers[transaction_id]
        answer = Answer(key, now)
        answers[transaction_id] = answer
        if len(answers) > KEPT_ANSWERS:
            answers.popitem(last=False)
        return answer, False

    def lose(self, content: int, answer: Answer) -> None:
        """Note that this answer could not be written to the handset."""
        if answer.retried:
            return
        lost = self._lost = self._lost or []
        lost.append((content, answer))
        del lost[:-KEPT_ANSWERS]

    @property
    def may_retry(self) -> bool:
        """Whether some answer was lost or may be, so that a retry may come."""
        return bool(self._lost) or self.working > 0

    def found_again(
        self, request: Primitive, content: Callable[[Primitive], int], now: float
    ) -> Answer | None:
        """Give the answer that was lost, or is being lost, for the same content, once.

        ``content`` gives what two requests have in common when they are the same.
        """
        key = content(request)
        for answer in (self._answers or {}).values():
            asked = answer.request
            if type(asked) is type(request) and answer.abandoned and answer.abandoned():
                if not answer.retried and content(asked) == key:
                    answer.retried = True
                    return answer
        self._lost = [x for x in self._lost or () if now - x[1].at < RETRY_WINDOW]
        for index, (lost, answer) in enumerate(self._lost):
            if lost == key:
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
        self._queued_now()[offer.key] = offer
        return True

    def offers(self) -> list[Offer]:
        """Give every offer, made or not."""
        return [*(self._offered or {}).values(), *(self._queue or {}).values()]

    def withdraw(self, key: str) -> None:
        """Forget what is offered under that key: it was settled elsewhere."""
        for transaction_id, offer in list((self._offered or {}).items()):
            if offer.key == key:
                del self._offered[transaction_id]  # type: ignore[union-attr]
        if self._queue:
            self._queue.pop(key, None)

    def confirmed(
        self, transaction_id: str | None, key: str | None = None
    ) -> Offer | None:
        """Take the offer that a client response with that id answers.

        With ``key``, only the offer of that very thing: a handset that confirms a
        message under a wrong id must not settle another one.
        """
        if self._offered is None or transaction_id is None:
            return None
        offer = self._offered.get(transaction_id)
        if offer is None or key not in (None, offer.key):
            return None
        return self._offered.pop(transaction_id)

    def keep(self, offer: Offer) -> None:
        """Put an offer back whose confirmation could not be kept: it goes on."""
        offered = self._offered_now()
        if offer.transaction_id not in offered:
            offered[offer.transaction_id] = offer
            offered.move_to_end(offer.transaction_id, last=False)

    def due(
        self, room: int, space: int, now: float, *, alone: bool = True
    ) -> list[Transaction]:
        """Give the server transactions that ride in the next reply.

        First what was offered and not confirmed for thirty seconds, under its old id
        and at most three times; then what waits. At most ``room`` transactions and
        ``space`` bytes; but in a reply that carries nothing else (``alone``) one rides
        whatever its size, for it will never be less.
        """
        out: list[Transaction] = []
        for offer in self._again(now):
            if len(out) >= room or not (alone and not out or offer.size <= space):
                return out
            space -= offer.size
            self._offered_now().move_to_end(offer.transaction_id)
            out.append(self._make(offer, now))
        queue = self._queue
        while queue and len(out) < room and len(self._offered or ()) < LAST_ID:
            offer = next(iter(queue.values()))
            offer.primitive, offer.size = offer.form()
            if not (alone and not out or offer.size <= space):
                break
            del queue[offer.key]
            space -= offer.size
            offer.transaction_id = self._new_id()
            self._offered_now()[offer.transaction_id] = offer
            out.append(self._make(offer, now))
        return out

    def take_back(self, transaction_ids: list[str]) -> None:
        """Undo offers whose reply was never written: they do not count.

        What the handset may have seen in an earlier reply keeps its id and comes with
        the next one; the rest waits again as if it had never been offered.
        """
        for transaction_id in reversed(transaction_ids):
            offer = self.confirmed(transaction_id)
            if offer is None:
                continue
            offer.times -= 1
            if offer.times > 0:
                offer.at = 0.0
                self.keep(offer)
                continue
            queue = self._queued_now()
            queue[offer.key] = offer
            queue.move_to_end(offer.key, last=False)

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
        assert offer.primitive is not None
        offer.at = now
        offer.times += 1
        return Transaction(
            id=offer.transaction_id, mode=Mode.REQUEST, primitive=offer.primitive
        )

    def _queued_now(self) -> OrderedDict[str, Offer]:
        # By key, so that what is settled leaves a long queue without a search.
        if self._queue is None:
            self._queue = OrderedDict()
        return self._queue

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
