"""The service is killed at random instants, under load from both sides.

What docs/semantics.md promises holds all the same: what was acknowledged is delivered
at least once, what was confirmed is never offered again, lines keep their order, every
message has one end. ``SOAK_KILLS`` says how often it is killed, ``SOAK_SEED`` when.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import rows
from tests.live.gateway import GatewayService, beside
from tests.live.ledger import Ledger
from tests.live.loads import CoreSender, Mobile, Peer, TrustedSender, receiver
from tests.live.programs import Kamailio, PostgreSql, Program, wait_until

_log = logging.getLogger(__name__)

KILLS = int(os.environ.get("SOAK_KILLS", "10"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1 << 30)
HOLD = 0.3
HANDSETS = ("carol", "dave", "erin")


class Ordeal:
    """One run: the bridge, its peers, and who kills the service."""

    def __init__(
        self, gateway: GatewayService, core: Kamailio, ledger: Ledger, folder: Path
    ) -> None:
        self.gateway = gateway
        self.core = core
        self.ledger = ledger
        self.folder = folder
        self.random = random.Random(SEED)
        self.peers: list[Peer] = []

    def kill(self) -> None:
        """Kill the service in the middle of its work, and look what it left behind."""
        frozen = self.random.random() < 0.4
        if frozen:
            # The core is silent: hold and outbox are in play.
            self.core.signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.05, 1.2))
        self._dies()
        Program.start(self.gateway)
        while self.random.random() < 0.25:
            # Killed while it starts, too, before it listens or just after.
            time.sleep(self.random.uniform(0.0, 1.5))
            self._dies()
            Program.start(self.gateway)
        if frozen:
            time.sleep(self.random.uniform(0.0, 0.5))
            self.core.signal(signal.SIGCONT)
        self.gateway.ready()
        before = self.ledger.acknowledgements
        self._until(lambda: self.ledger.acknowledgements > before, "some work again")

    def _dies(self) -> None:
        assert self.gateway.stop(signal.SIGKILL) == -signal.SIGKILL
        self.ledger.stands(rows.read(self.gateway, self.folder / "copy"))
        time.sleep(self.random.uniform(0.0, 0.2))

    def settle(self) -> None:
        """Let everything that waits arrive; then end the peers and the service."""
        for peer in self.peers:
            peer.still.set()
        self._until(lambda: all(peer.idle for peer in self.peers), "the last answers")
        self._until(lambda: not self.ledger.missing(), "what is on its way")
        self._until(lambda: rows.waiting(self.gateway) == 0, "the ends of all")
        for peer in self.peers:
            peer.end()
        assert self.gateway.stop() == 0
        self.ledger.stands(rows.read(self.gateway, self.folder / "copy"))

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        def ready_or_wrong() -> bool:
            assert not self.ledger.faults, (SEED, self.ledger.faults)
            return ready()

        try:
            wait_until(ready_or_wrong, what, 90)
        except TimeoutError as error:
            raise TimeoutError((SEED, what, self.ledger.missing()[:20])) from error


@pytest.fixture
def ordeal(stage, sip_user):
    """Start the bridge on a store, a SIP user behind it, and all the peers."""

    def start(store: str) -> Ordeal:
        gateway, core = beside(
            stage.folder, "trusted", hold=HOLD, store=store, subscribers=HANDSETS
        )
        stage.start(core)
        stage.start(gateway)
        alice, bob = (sip_user(name, core.proxy) for name in ("alice", "bob"))
        ledger = Ledger()
        receiver(ledger, bob)
        assert bob.register(expires=7200).status == 200
        run = Ordeal(gateway, core, ledger, stage.folder)
        run.peers = [
            TrustedSender(ledger, "peter", "carol", gateway),
            TrustedSender(ledger, "petra", "dave", gateway),
            CoreSender(ledger, alice, "erin"),
            Mobile(ledger, "carol", gateway, "bob"),
            Mobile(ledger, "erin", gateway, "carol"),
            Mobile(ledger, "dave", gateway, "bob", comes_and_goes=True),
        ]
        for peer in run.peers:
            stage.ending.callback(peer.end)
            peer.start()
        return run

    return start


def kill_and_account(ordeal: Ordeal) -> None:
    """Kill again and again; then the accounts must agree."""
    for _ in range(KILLS):
        ordeal.kill()
    ordeal.settle()
    ledger = ordeal.ledger
    assert ledger.close() == [], SEED
    done = "seed %d: %d kills, %d texts, %d arrivals of what had arrived before"
    _log.info(done, SEED, KILLS, len(ledger.entries), ledger.repeats)


@pytest.mark.component("kamailio")
def test_kills_on_sqlite(ordeal):
    kill_and_account(ordeal("sqlite:///state/gateway.db"))


@pytest.mark.component("kamailio", "postgresql")
def test_kills_on_postgresql(ordeal, stage):
    database = PostgreSql(stage.folder / "postgres.log")
    # What a crash of the machine leaves is what it would in earnest.
    database.environment["PG_DURABLE"] = "1"
    stage.start(database)
    kill_and_account(ordeal(database.url))
