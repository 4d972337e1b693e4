"""What the gateway leans on goes away in the middle of traffic, and comes back.

The core, the database, the room on the disk: meanwhile it says so to both sides and
promises nothing that it cannot keep; afterwards it goes on by itself, with nothing lost
and nothing confirmed offered again.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import time

import pytest

from tests.live.gateway import beside
from tests.live.ledger import Ledger
from tests.live.loads import CoreSender, Mobile, TrustedSender, receiver
from tests.live.programs import PostgreSql, wait_until
from tests.live.runs import HANDSETS, HOLD, Run

OUTAGES = 3
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1 << 30)
# More than the log of the service has, less than the store's.
ROOM = 128 * 1024


@pytest.fixture
def loaded(stage, sip_user):
    """Start the bridge on a store, bob behind it, and all the peers."""

    def start(store: str):
        gateway, core = beside(
            stage.folder, "trusted", hold=HOLD, store=store, subscribers=HANDSETS
        )
        stage.start(core)
        stage.start(gateway)
        alice, bob = (sip_user(name, core.proxy) for name in ("alice", "bob"))
        ledger = Ledger()
        receiver(ledger, bob)
        assert bob.register().status == 200
        run = Run(gateway, core, ledger, stage.folder, random.Random(SEED))
        stage.ending.callback(run.end)
        run.begin(
            [
                TrustedSender(ledger, "peter", "carol", gateway),
                TrustedSender(ledger, "petra", "dave", gateway),
                CoreSender(ledger, alice, "erin"),
                Mobile(ledger, "carol", gateway, "bob", stubborn=True),
                Mobile(ledger, "erin", gateway, "bob", stubborn=True),
                Mobile(ledger, "dave", gateway, comes_and_goes=True, stubborn=True),
            ]
        )
        return run, bob

    return start


@pytest.mark.component("kamailio")
def test_the_core_stops_and_starts_under_load(loaded):
    run, bob = loaded("sqlite:///state/gateway.db")
    for _ in range(OUTAGES):
        run.until_some_work_is_done()
        run.core.stop()
        time.sleep(run.random.uniform(0.2, 1.5))
        run.core.start()
        # It has forgotten him.
        assert bob.register().status == 200
        run.until_some_work_is_done()
    run.settle()


@pytest.mark.component("kamailio", "postgresql")
def test_the_database_stops_and_starts_under_load(loaded, stage):
    database = PostgreSql(stage.folder / "postgres.log")
    database.environment["PG_DURABLE"] = "1"
    stage.start(database)
    run, _ = loaded(database.url)
    for _ in range(OUTAGES):
        run.until_some_work_is_done()
        time.sleep(run.random.uniform(0.1, 1.0))
        database.stop()
        time.sleep(run.random.uniform(0.2, 1.5))
        database.start()
        run.until_some_work_is_done()
    run.settle()


class Cast:
    """The service, a core that answers no MESSAGE, a trusted peer, three handsets."""

    def __init__(self, service, core, peter, handsets) -> None:
        self.service = service
        self.core = core
        self.peter = peter
        self.carol, self.dave, self.erin = handsets

    def writes_to_dave(self, text: str):
        """Send a MESSAGE as a peer of the core's side; return the answer."""
        return self.peter.request(
            "MESSAGE",
            f"sip:dave@{self.service.domain}",
            headers=(
                f"P-Asserted-Identity: <{self.peter.aor}>",
                "Content-Type: text/plain;charset=UTF-8",
            ),
            body=text.encode(),
        )

    def carol_writes(self) -> str:
        """Have carol send what has to be held; return the code of the answer."""
        return self.carol.send(f"wv:bob@{self.service.domain}", "hold this").code

    def before(self) -> None:
        """Show that all is well, and leave something behind."""
        self.carol.open()
        assert self.writes_to_dave("before").status == 202
        assert self.carol_writes() == "200"

    def meanwhile(self) -> None:
        """Ask for what needs the store: the answers promise nothing."""
        refused = self.writes_to_dave("nowhere to keep it")
        assert refused.status == 503
        assert int(refused.get("retry-after")) > 0
        assert self.carol_writes() in {"503", "504"}
        assert self.erin.login().code == "503"
        assert self.carol.keep_alive().code == "200"

    def after(self, kept: list[str]) -> None:
        """Wait until it works again: what was accepted is there, and only that."""
        wait_until(lambda: self.writes_to_dave("after").status == 202, "the store")
        assert self.carol.keep_alive().code == "200"
        assert self.carol_writes() == "200"
        wait_until(lambda: self.erin.login().code == "200", "a login")
        self.dave.open()
        texts = [self.dave.receive().text("ContentData") for _ in (*kept, "after")]
        assert texts == [*kept, "after"]
        assert self.dave.poll().body == b""


@pytest.fixture
def cast(gateway, handset, sip_user):
    """Start the service on a store, between peers of our own."""

    def start(store: str) -> Cast:
        core = sip_user("core", ("127.0.0.1", 9))
        core.answer = lambda request: 100 if request.method == "MESSAGE" else 200
        service = gateway(
            store=store,
            hold=HOLD,
            core=f"sip:127.0.0.1:{core.port}",
            subscribers=HANDSETS,
        )
        peter = sip_user("peter", ("127.0.0.1", service.sip_port))
        return Cast(service, core, peter, [handset(service, n) for n in HANDSETS])

    return start


def test_the_database_is_away_and_comes_back(postgres, cast):
    play = cast(postgres.url)
    play.before()
    postgres.stop()
    play.meanwhile()
    postgres.start()
    play.after(["before"])


def fill(play: Cast) -> list[str]:
    """Store more than there is to be room for; return the texts."""
    texts = [f"{number}" * (ROOM // 8) for number in range(10)]
    for text in texts:
        assert play.writes_to_dave(text).status == 202
    return texts


def limit(play: Cast, most: int) -> None:
    """Let no file of the service grow further: so a full disk looks to SQLite."""
    _, hard = resource.prlimit(play.service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(play.service.pid, resource.RLIMIT_FSIZE, (most, hard))


def test_the_disk_is_full_and_has_room_again(cast):
    play = cast("sqlite:///state/gateway.db")
    play.before()
    texts = fill(play)
    limit(play, ROOM)
    play.meanwhile()
    limit(play, resource.RLIM_INFINITY)
    play.after(["before", *texts])


def test_the_service_is_killed_while_the_disk_is_full(cast):
    play = cast("sqlite:///state/gateway.db")
    play.before()
    texts = fill(play)
    limit(play, ROOM)
    play.meanwhile()
    play.service.stop(signal.SIGKILL)
    play.service.start()
    play.after(["before", *texts])
