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

import pytest

from tests.live.gateway import beside
from tests.live.ledger import Ledger
from tests.live.loads import CoreSender, Mobile, TrustedSender, receiver
from tests.live.programs import PostgreSql, Program
from tests.live.runs import HANDSETS, HOLD, Run

KILLS = int(os.environ.get("SOAK_KILLS", "10"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1 << 30)

_log = logging.getLogger(__name__)


@pytest.fixture
def loaded(stage, sip_user):
    """Start the bridge on a store, a SIP user behind it, and all the peers.

    ``side`` is the core's side on which the gateway is, as of ``bridge``.
    """

    def start(store: str, side: str) -> Run:
        gateway, core = beside(
            stage.folder, side, hold=HOLD, store=store, subscribers=HANDSETS
        )
        users = (*HANDSETS, "alice", "bob")
        core.environment["KAM_USERS"] = " ".join(f"{name}:{name}" for name in users)
        stage.start(core)
        stage.start(gateway)
        alice, bob = (sip_user(name, core.proxy) for name in ("alice", "bob"))
        # On the terminals' side the core asks us, as an application server, before it
        # passes a message on, and repeats that for seconds when we are dead.
        ledger = Ledger(copies=side == "terminal")
        receiver(ledger, bob)
        assert bob.register(expires=7200).status == 200
        run = Run(gateway, core, ledger, stage.folder, random.Random(SEED))
        stage.ending.callback(run.end)
        run.begin(
            [
                TrustedSender(ledger, "peter", "carol", gateway),
                TrustedSender(ledger, "petra", "dave", gateway),
                CoreSender(ledger, alice, "erin"),
                Mobile(ledger, "carol", gateway, "bob"),
                Mobile(ledger, "erin", gateway, "carol"),
                Mobile(ledger, "dave", gateway, "bob", comes_and_goes=True),
            ]
        )
        return run

    return start


def kill(run: Run, how: int = signal.SIGKILL) -> None:
    """End the service, look what it left behind, and be dead for a moment."""
    assert run.gateway.stop(how) == (0 if how == signal.SIGTERM else -how)
    run.look()
    time.sleep(run.random.uniform(0.0, 0.2))


def kill_and_start(run: Run) -> None:
    """Kill the service in the middle of its work, and start it again."""
    frozen = run.random.random() < 0.4
    if frozen:
        # The core is silent: hold and outbox are in play.
        run.core.signal(signal.SIGSTOP)
    time.sleep(run.random.uniform(0.05, 1.2))
    # Now and then as an operator ends it, which must lose as little.
    kill(run, run.random.choice([signal.SIGKILL] * 4 + [signal.SIGTERM]))
    Program.start(run.gateway)
    while run.random.random() < 0.25:
        # Killed while it starts, too, before it listens or just after.
        time.sleep(run.random.uniform(0.0, 1.5))
        kill(run)
        Program.start(run.gateway)
    if frozen:
        time.sleep(run.random.uniform(0.0, 0.5))
        run.core.signal(signal.SIGCONT)
    run.gateway.ready()
    run.until_some_work_is_done()


def kill_and_account(run: Run) -> None:
    """Kill again and again; then the accounts must agree."""
    _log.warning("SOAK_SEED=%d", SEED)  # shown when the test fails
    for _ in range(KILLS):
        kill_and_start(run)
    run.settle()
    texts, again = len(run.ledger.entries), run.ledger.repeats
    _log.info("%d kills, %d texts, %d came more than once", KILLS, texts, again)


@pytest.mark.component("kamailio")
def test_kills_on_sqlite(loaded):
    kill_and_account(loaded("sqlite:///state/gateway.db", "trusted"))


@pytest.mark.component("kamailio", "postgresql")
def test_kills_on_postgresql(loaded, stage):
    database = PostgreSql(stage.folder / "postgres.log")
    # What a crash of the machine leaves is what it would in earnest.
    database.environment["PG_DURABLE"] = "1"
    stage.start(database)
    kill_and_account(loaded(database.url, "terminal"))


def test_a_handset_goes_on_after_a_kill(bridge, handset, sip_user):
    gateway, core = bridge("trusted")
    bob = sip_user("bob", core.proxy)
    assert bob.register().status == 200
    carol = handset(gateway, "carol")
    carol.open()
    gateway.stop(signal.SIGKILL)
    gateway.start()
    # The next POST of its session, as if nothing had happened.
    assert carol.send("wv:bob@im.example.test", "still me").code == "200"
    assert bob.expect().body == b"still me"
    assert bob.message("sip:carol@im.example.test", "still you").status == 200
    assert carol.receive().text("ContentData") == "still you"


@pytest.mark.parametrize("side", ["trusted", "terminal"])
def test_registrations_outlive_a_kill(bridge, handset, side):
    gateway, core = bridge(side)
    carol = handset(gateway, "carol")
    carol.open()
    core.wait_for(lambda: core.bindings("carol") != [], "the registration")
    (before,) = core.bindings("carol")
    gateway.stop(signal.SIGKILL)
    gateway.start()
    core.wait_for(
        lambda: core.bindings("carol")[0]["CSeq"] > before["CSeq"], "a later REGISTER"
    )
    (after,) = core.bindings("carol")
    # To the core it is the same phone, which registers once more.
    assert after["Call-ID"] == before["Call-ID"]
    assert after["Instance"] == before["Instance"] != "[not set]"
    assert after["Address"] == before["Address"]
