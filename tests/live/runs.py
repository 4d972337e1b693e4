"""One run of load on the bridge, until the accounts of all its peers agree."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.live import rows
from tests.live.gateway import GatewayService
from tests.live.ledger import Ledger
from tests.live.loads import Peer
from tests.live.programs import Kamailio, wait_until

HOLD = 0.3
HANDSETS = ("carol", "dave", "erin")
_PATIENCE = 90.0


class Run:
    """The bridge under load; ``random`` decides what happens to it, and when."""

    def __init__(
        self,
        gateway: GatewayService,
        core: Kamailio,
        ledger: Ledger,
        folder: Path,
        chance: random.Random,
    ) -> None:
        self.gateway = gateway
        self.core = core
        self.ledger = ledger
        self.random = chance
        self._copy = folder / "copy"
        self._peers: list[Peer] = []

    def begin(self, peers: Sequence[Peer]) -> None:
        """Let the peers begin."""
        self._peers += peers
        for peer in peers:
            peer.start()

    def end(self) -> None:
        """Stop all peers, however far they came."""
        for peer in self._peers:
            peer.end()

    def look(self) -> None:
        """Compare the store with how it stood before; the service is dead."""
        self.ledger.stands(rows.read(self.gateway, self._copy))

    def until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until ready; the first fault in the accounts ends the run at once."""

        def ready_or_wrong() -> bool:
            assert not self.ledger.faults, self.ledger.faults[:10]
            return ready()

        try:
            wait_until(ready_or_wrong, what, _PATIENCE)
        except TimeoutError as error:
            raise TimeoutError(f"{what}: {self.ledger.missing()[:20]}") from error

    def until_some_work_is_done(self) -> None:
        """Wait until something more was taken over than until now."""
        before = self.ledger.acknowledgements
        self.until(lambda: self.ledger.acknowledgements > before, "some work")

    def settle(self) -> None:
        """Let all that waits arrive, end peers and service; the accounts agree."""
        for peer in self._peers:
            peer.still.set()
        self.until(lambda: all(peer.idle for peer in self._peers), "the last answers")
        self.until(lambda: not self.ledger.missing(), "what is on its way")
        self.until(lambda: rows.waiting(self.gateway) == 0, "the ends of all")
        self.end()
        assert self.gateway.stop() == 0
        self.look()
        faults = self.ledger.close()
        assert not faults, faults[:20]
