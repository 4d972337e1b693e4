"""The service as an operator runs it, and a SIP core beside it in either set-up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.live.ports import free_ports
from tests.live.programs import Kamailio, Program, listens

# Those of the core's users whose terminal is a handset. All others are SIP users.
HANDSETS = ("carol", "dave")

_CONFIG = """\
[gateway]
domain = "{domain}"
state_dir = "state"
hold = {hold}
[store]
url = "{store}"
[sip]
listen = [
    "udp:{sip_port}:interface=127.0.0.1",
    "tcp:{sip_port}:interface=127.0.0.1",
]
core = "{core}"
[[binding]]
type = "csp-http"
endpoint = "tcp:{http_port}:interface=127.0.0.1"
"""


class GatewayService(Program):
    """``twistd -n imps-gateway --config FILE`` with one subscriber for each handset.

    ``programs`` is the folder of an installation; this environment's by default. Its
    store is a file in the test's folder, so that it outlives a restart.
    """

    domain = "im.example.test"

    def __init__(
        self,
        folder: Path,
        *,
        core: str = "embedded",
        hold: float = 8,
        store: str = "sqlite:///state/gateway.db",
        programs: Path | None = None,
        subscribers: tuple[str, ...] = HANDSETS,
    ) -> None:
        self.programs = programs or Path(sys.executable).parent
        self.http_port, self.sip_port = free_ports(2)
        self.core, self.hold, self.store = core, hold, store
        self.subscribers = subscribers
        self.config = folder / "gateway.toml"
        command = [str(self.programs / "twistd"), "-n", "--pidfile=", "imps-gateway"]
        command += ["--config", str(self.config)]
        super().__init__(command, folder / "gateway.log")

    def password(self, user: str) -> str:
        """Return the password of a subscriber at the gateway, not that at the core."""
        return f"secret-{user}"

    def cli(self, *arguments: str) -> str:
        """Run ``imps-gateway`` with these arguments; return what it prints."""
        command = [str(self.programs / "imps-gateway"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        """Start it, the first time with its subscribers; wait until it listens."""
        if not self.config.exists():
            self.configure()
            self.subscribe(*self.subscribers)
        super().start()
        self.ready()

    def ready(self) -> None:
        """Wait until it listens."""
        ports = (self.http_port, self.sip_port)
        self.wait_for(lambda: all(map(listens, ports)), "the gateway")

    def configure(self) -> None:
        """Write the configuration file."""
        text = _CONFIG.format(
            domain=self.domain,
            hold=self.hold,
            store=self.store,
            sip_port=self.sip_port,
            http_port=self.http_port,
            core=self.core,
        )
        self.config.write_text(text, encoding="utf-8")

    def subscribe(self, *users: str) -> None:
        """Add subscribers; at the core the password of each is his name."""
        rows = [
            f"wv:{user}@{self.domain},{self.password(user)},sip:{user}@{self.domain},"
            f"{user},{user}"
            for user in users
        ]
        file = self.config.with_name("subscribers.csv")
        head = "user-id,password,aor,sip-user,sip-password"
        file.write_text("\n".join((head, *rows, "")), encoding="utf-8")
        self.cli("subscriber", "import", "--config", str(self.config), str(file))

    def end(self) -> None:
        """End it as an operator does: exit status 0, no defect of ours in the log."""
        if self.running:
            assert self.stop() == 0, self.output()
        self.check()

    def check(self) -> None:
        """Fail when the log shows a defect of ours, or a password."""
        output = self.output()
        for word in ("Traceback", "Unhandled", "secret-"):
            assert word not in output, output


def beside(
    folder: Path, side: str, *, transport: str = "udp", **options: Any
) -> tuple[GatewayService, Kamailio]:
    """Return a gateway and its core, not yet started, knowing each other.

    ``side`` "trusted": the gateway is an application server of the core, its
    P-Asserted-Identity is believed. "terminal": it registers each subscriber as a
    terminal would, with Digest. What is for a handset comes to it in both.
    """
    gateway = GatewayService(folder, **options)
    core = Kamailio(
        folder,
        as_uri=f"sip:127.0.0.1:{gateway.sip_port};transport={transport}",
        psi=f"^({'|'.join(gateway.subscribers)})$",
    )
    port = {"trusted": core.isc_port, "terminal": core.sip_port}[side]
    gateway.core = f"sip:127.0.0.1:{port};transport={transport}"
    return gateway, core
