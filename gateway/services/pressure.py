"""Whether there is room for new work now: what is put off under overload.

New work is a message, from either side, and a login. Under overload it is answered with
the protocol's own "try later" before anything is done for it; polls, confirmations,
keep-alives and logouts go on, because they relieve. Two things tell overload: the store
has too many writes waiting, or the present turn of the reactor has taken new work for
longer than ``limits.turn``, and more than ``LEAST``. As a turn handles all that has
arrived, its length is the time that everybody waits; bounded, nobody waits long,
however much arrives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.configlimits import Limits
from gateway.csp.session import Session
from gateway.log import Logger

CALM = 5.0
"""Seconds without anything put off after which the overload is over."""
LEAST = 256
"""What every turn takes, however long: so many wait on no queue worth the name, and a
turn may be long because the machine stood still."""
TRY_AGAIN = 10
"""Seconds after which a handset that was put off may try again."""


class Pressure:
    """Decides what is put off, and counts it by road."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, limits: Limits, waiting: Callable[[], int]
    ) -> None:
        """Begin without pressure; ``waiting`` counts the writes that wait."""
        self._clock = clock
        self._waiting = waiting
        self._began: float | None = None
        self._taken = 0
        self._turn: IDelayedCall | None = None
        self._calming: IDelayedCall | None = None
        self._put_off = 0
        self._latest = 0.0
        self.refused: Counter[str] = Counter()
        """How much was put off, by road."""
        self.apply(limits)

    def apply(self, limits: Limits) -> None:
        """Take new limits."""
        self.limits = limits

    def busy(self, road: str) -> bool:
        """Tell whether new work on a road is to be put off now; it is counted then."""
        if self._waiting() < self.limits.writes:
            now = self._clock.seconds()
            if self._began is None:
                self._began, self._taken = now, 1
                # Called when this turn of the reactor is over.
                self._turn = self._clock.callLater(0, self._turned)
                return False
            if self._taken < LEAST or now - self._began <= self.limits.turn:
                self._taken += 1
                return False
        self.put_off(road)
        return True

    def _turned(self) -> None:
        self._turn = self._began = None

    def spent(self, session: Session, size: int) -> bool:
        """Tell whether a session asks for more than its share with a POST so long."""
        limits = self.limits
        cost = max(1 / limits.session_requests, size / limits.session_bytes)
        if session.spend(cost, limits.session_burst, self._clock.seconds()):
            return False
        self.refused["session"] += 1
        return True

    def put_off(self, road: str) -> None:
        """Count what is put off; the operator hears of it once an overload."""
        self.refused[road] += 1
        self._put_off += 1
        self._latest = self._clock.seconds()
        if self._calming is None:
            self._log.warn("overload: new messages and logins are put off")
            self._calming = self._clock.callLater(CALM, self._calm)

    def _calm(self) -> None:
        """Say that the overload is over, once it is."""
        wait = self._latest + CALM - self._clock.seconds()
        if wait > 0:
            self._calming = self._clock.callLater(wait, self._calm)
            return
        self._log.info("overload is over; {count} put off", count=self._put_off)
        self._calming, self._put_off = None, 0

    def stop(self) -> None:
        """Cancel the timers."""
        for call in (self._turn, self._calming):
            if call is not None and call.active():
                call.cancel()
        self._turn = self._calming = self._began = None
