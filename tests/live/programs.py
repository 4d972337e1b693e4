"""The programs of the live tests, each started and ended as its operator would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.components import HERE as COMPONENTS
from tests.components.baresip import baresipctl
from tests.live.ports import free_ports

# How long a program may take to be ready, or to end: generous, as machines are shared.
PATIENCE = 30.0


def wait_until(
    ready: Callable[[], bool], what: str, patience: float = PATIENCE
) -> None:
    """Return once ready; raises TimeoutError after ``patience`` seconds."""
    end = time.monotonic() + patience
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Tell whether something takes TCP connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """A child process in the foreground, its output in a file."""

    def __init__(
        self,
        command: list[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = command
        self.log = log
        self.environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running program."""
        assert self._process is not None
        return self._process.pid

    def output(self) -> str:
        """Return everything it has written so far, over all its runs."""
        if not self.log.exists():
            return ""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it; return at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                # Its own process group: it may have children.
                start_new_session=True,
            )

    def wait_for(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until ready; raises RuntimeError with its output when it ends first."""

        def ready_or_ended() -> bool:
            if not self.running:
                raise RuntimeError(f"{self.command[0]} ended:\n{self.output()}")
            return ready()

        try:
            wait_until(ready_or_ended, what)
        except TimeoutError as error:
            raise TimeoutError(f"{what}:\n{self.output()}") from error

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """End it by a signal; return its exit status. Kills what does not end."""
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def signal(self, number: int) -> None:
        """Send a signal to it and all its children."""
        os.killpg(self.pid, number)

    def end(self) -> None:
        """End it with the test, however far it came."""
        if self.running:
            self.stop()

    def finish(self, patience: float = PATIENCE) -> int:
        """Wait for it to end by itself; return its exit status."""
        assert self._process is not None
        return self._process.wait(patience)


class Kamailio(Program):
    """The SIP core: terminals on ``sip_port``, the trusted side on ``isc_port``.

    It can be stopped and started again on the same ports; registrations are lost then,
    as they are kept in memory only.
    """

    def __init__(
        self, folder: Path, *, as_uri: str = "", psi: str = "", users: str = ""
    ) -> None:
        ports = free_ports(4)
        self.sip_port, self.isc_port, self.http_port, msrp_port = ports
        self.domain = "im.example.test"
        environment = {
            "KAM_SIP_PORT": str(self.sip_port),
            "KAM_ISC_PORT": str(self.isc_port),
            "KAM_HTTP_PORT": str(self.http_port),
            "KAM_MSRP_PORT": str(msrp_port),
            "KAM_DOMAIN": self.domain,
        }
        for name, value in (
            ("KAM_AS_URI", as_uri),
            ("KAM_PSI_RE", psi),
            ("KAM_USERS", users),
        ):
            if value:
                environment[name] = value
        script = str(COMPONENTS / "kamailio" / "run-kamailio.sh")
        command = [script, str(folder / "kamailio")]
        super().__init__(command, folder / "kamailio.log", environment)

    @property
    def proxy(self) -> tuple[str, int]:
        """Where terminals send."""
        return ("127.0.0.1", self.sip_port)

    def start(self) -> None:
        """Start it and wait until it answers OPTIONS on both sides."""
        super().start()
        for port in (self.sip_port, self.isc_port):
            self.wait_for(partial(_answers, port, self.domain), "Kamailio")

    def contacts(self, user: str) -> list[str]:
        """Return the addresses at which a user is registered."""
        return [binding["Address"] for binding in self.bindings(user)]

    def bindings(self, user: str) -> list[dict[str, Any]]:
        """Return what the core keeps of each contact of a user, by its own names."""
        asked = {
            "jsonrpc": "2.0",
            "method": "ul.lookup",
            "params": ["location", f"{user}@{self.domain}"],
            "id": 1,
        }
        url = f"http://127.0.0.1:{self.http_port}/RPC"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(asked).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            # So it says that there is none.
            error.close()
            return []
        found = answer["result"]["Contacts"]
        return [entry["Contact"] for entry in found]


def _answers(port: int, domain: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.5)
        probe.bind(("127.0.0.1", 0))
        own = probe.getsockname()[1]
        lines = (
            f"OPTIONS sip:{domain} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{own};rport;branch=z9hG4bKready{own}",
            "Max-Forwards: 70",
            f"From: <sip:ready@{domain}>;tag=ready",
            f"To: <sip:{domain}>",
            f"Call-ID: ready{own}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        )
        probe.sendto("\r\n".join((*lines, "", "")).encode(), ("127.0.0.1", port))
        try:
            return probe.recv(65535).startswith(b"SIP/2.0 200")
        except OSError:
            # Nobody there yet: a timeout, or ICMP's "port unreachable".
            return False


class Baresip(Program):
    """A SIP terminal of others: registers by itself, driven over its control port.

    It sends its messages to ``contact``. Passwords are the users' names, as the core's.
    """

    def __init__(self, folder: Path, user: str, contact: str, core: Kamailio) -> None:
        # It also takes the next port, for TLS.
        port, _, self.control = free_ports(3)
        environment = {
            "BARESIP_PORT": str(port),
            "BARESIP_CTRL": str(self.control),
            "SIP_PROXY": f"127.0.0.1:{core.sip_port}",
            "SIP_DOMAIN": core.domain,
        }
        script = str(COMPONENTS / "baresip" / "run-baresip.sh")
        command = [script, str(folder / "baresip"), user, user, contact]
        super().__init__(command, folder / "baresip.log", environment)

    def start(self) -> None:
        """Start it and wait until it is registered."""
        super().start()
        self.wait_for(lambda: listens(self.control), "baresip's control port")
        # Its menu says "OK", in colour, beside a registered account.
        self.wait_for(
            lambda: "OK" in baresipctl.command(self.control, "reginfo"), "registration"
        )

    def message(self, text: str) -> None:
        """Send a text; what became of it is in the trace of :meth:`output`."""
        baresipctl.command(self.control, "message", text)


def sipp_scenario(folder: Path, scenario: str, *arguments: str) -> Program:
    """Return SIPp, not yet started, with a scenario of ``components/sipp``."""
    script = str(COMPONENTS / "sipp" / f"{scenario}.xml")
    command = ["sipp", "-sf", script, "-i", "127.0.0.1", "-nostdin", *arguments]
    # Without a terminal SIPp still draws its screen: only the statistics are wanted.
    return Program(command, folder / f"sipp-{scenario}.log", {"TERM": "dumb"})


class Capture(Program):
    """What goes over loopback on some ports, for tshark to judge."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.file = folder / "capture.pcap"
        self.ports = ports
        (self._marker,) = free_ports()
        only = " or ".join(f"port {port}" for port in (*ports, self._marker))
        command = ["dumpcap", "-q", "-i", "lo", "-f", only, "-w", str(self.file)]
        super().__init__(command, folder / "dumpcap.log")

    def start(self) -> None:
        """Start it and wait until it captures."""
        super().start()
        self.wait_for(partial(self._marked, b"the capture begins"), "capture")

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """End it once everything sent before is in the file."""
        self.wait_for(partial(self._marked, b"the capture ends"), "capture")
        return super().stop(number, patience)

    def _marked(self, mark: bytes) -> bool:
        # The kernel hands packets over in blocks, up to a second late: what was sent
        # before a mark is in the file when the mark is.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(mark, ("127.0.0.1", self._marker))
        return self.file.exists() and mark in self.file.read_bytes()

    def read(self, *arguments: str) -> str:
        """Return what tshark prints of the capture, every port taken as SIP."""
        decode = [
            option
            for port in self.ports
            for layer in ("udp", "tcp")
            for option in ("-d", f"{layer}.port=={port},sip")
        ]
        command = ["tshark", "-n", "-r", str(self.file), *decode, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    def malformed(self) -> list[str]:
        """Return a line for each SIP message to which tshark objects.

        It has notes, warnings and errors; a datagram that it does not take for SIP
        at all is one, too.
        """
        ours = " || ".join(f"udp.port == {port}" for port in self.ports)
        objects = "(sip && (_ws.malformed || _ws.expert.severity >= 0x400000))"
        return self.read("-Y", f"{objects} || (!sip && ({ours}))").splitlines()


class PostgreSql(Program):
    """A private database server; it can be stopped and started on the same port."""

    def __init__(self, log: Path) -> None:
        (self.port,) = free_ports()
        # Not the test's own folder: the server, never root, must be able to reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="imps-postgres-"))
        self.folder.chmod(0o755)
        script = str(COMPONENTS / "postgres" / "run-postgres.sh")
        environment = {"PGPORT": str(self.port), "PGDATABASE": "imps"}
        super().__init__([script, str(self.folder)], log, environment)

    @property
    def url(self) -> str:
        """The value of ``store.url``."""
        return f"postgresql://test@127.0.0.1:{self.port}/imps"

    def start(self) -> None:
        """Start it, the first time with a new cluster; wait until it is ready."""
        already = self.output().count("ready to accept connections")
        super().start()
        self.wait_for(
            lambda: self.output().count("ready to accept connections") > already,
            "PostgreSQL",
        )

    def stop(self, number: int = signal.SIGINT, patience: float = PATIENCE) -> int:
        """End it at once: connections are cut."""
        return super().stop(number, patience)

    def end(self) -> None:
        """End it and remove its files."""
        super().end()
        shutil.rmtree(self.folder)
