"""The real service under load: ``twistd imps-gateway`` with subscribers logged in."""

from __future__ import annotations

import contextlib
import csv
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.load import SLOT
from bench.processes import SERVER_CPU, Server, running
from gateway.csp.client import Account, Client, Closed, Opened
from gateway.csp.common import Recipient, Sender, User
from gateway.csp.envelope import Message, Mode, Transaction, Version
from gateway.csp.messaging import MessageInfo, SendMessageRequest
from gateway.csp.xmlsyntax import decode, encode

DOMAIN = "bench.example"
PASSWORD = "bench"
TYPE = "application/vnd.wv.csp.xml"
_CONFIG = """\
[gateway]
domain = "{domain}"
state_dir = "state"
[store]
url = "{store}"
[sip]
listen = ["udp:{sip}:interface=127.0.0.1", "tcp:{sip}:interface=127.0.0.1"]
core = "sip:127.0.0.1:{core};transport={transport}"
{settings}
[limits]
session_requests = 100000
registrations = 5000
[[binding]]
type = "csp-http"
endpoint = "tcp:{http}:interface=127.0.0.1"
{binding}
"""
_START = 120.0
SQLITE = "sqlite:///state/gateway.db"


@dataclass(frozen=True, slots=True)
class Service:
    """A running service; ``sip`` is its port for UDP and TCP."""

    http: Server
    sip: int
    folder: Path
    process: subprocess.Popen[str]

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.folder / "log").read_text(encoding="utf-8")


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    core: int,
    transport: str = "udp",
    subscribers: int,
    store: str = SQLITE,
    settings: str = "",
    binding: str = "",
    before: Callable[[Path], None] | None = None,
) -> Iterator[Service]:
    """Run the service on its own processor, with users u0, u1 … as subscribers.

    ``settings`` are further tables of the configuration, ``binding`` further keys of
    its HTTP binding; ``before`` gets the folder when the store is there and nobody uses
    it yet.
    """
    http_port, sip_port = _free_port(), _free_port()
    (folder / "state").mkdir()
    config = folder / "gateway.toml"
    config.write_text(
        _CONFIG.format(
            domain=DOMAIN,
            store=store,
            sip=sip_port,
            core=core,
            transport=transport,
            settings=settings,
            http=http_port,
            binding=binding,
        ),
        encoding="utf-8",
    )
    with (folder / "users.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("user-id", "password", "aor", "sip-user", "sip-password"))
        for number in range(subscribers):
            name = f"u{number}@{DOMAIN}"
            writer.writerow(
                (f"wv:{name}", PASSWORD, f"sip:{name}", f"u{number}", PASSWORD)
            )
    programs = Path(sys.executable).parent
    subprocess.run(
        [
            *(str(programs / "imps-gateway"), "subscriber", "import"),
            *("--config", str(config), str(folder / "users.csv")),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    if before is not None:
        before(folder)
    command = [str(programs / "twistd"), "-n", "--pidfile=", "imps-gateway"]
    command += ["--config", str(config)]
    with (
        (folder / "log").open("w", encoding="utf-8") as log,
        running(command, SERVER_CPU, stdout=log, stderr=log) as process,
    ):
        service = Service(Server(http_port, process.pid), sip_port, folder, process)
        _wait(service)
        yield service


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait(service: Service) -> None:
    end = time.monotonic() + _START
    while time.monotonic() < end and service.process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", service.http.port), 1).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"the service did not start:\n{service.log}")


def log_in(service: Service, number: int, version: Version = Version.V1_2) -> str:
    """Log user ``number`` in and negotiate; give the session's id."""
    user = f"wv:u{number}@{DOMAIN}"
    client = Client(Account(user_id=user, password=PASSWORD), version=version)
    line = http.client.HTTPConnection("127.0.0.1", service.http.port, timeout=10)
    with contextlib.closing(line):
        client.login()
        while (message := client.data_to_send()) is not None:
            line.request("POST", "/csp", encode(message), {"Content-Type": TYPE})
            body = line.getresponse().read()
            client.receive(decode(body) if body else None, time.monotonic())
            while (event := client.next_event()) is not None:
                if isinstance(event, Closed):
                    raise RuntimeError(f"{user}: {event}")
                if isinstance(event, Opened):
                    return event.session_id
    raise RuntimeError(f"{user} could not log in")


def send_message(session_id: str, number: int, text: str) -> str:
    """Write the POST with which user ``number`` sends a text to a SIP user.

    The TransactionID is ``bench.load.SLOT``.
    """
    info = MessageInfo(
        content_type="text/plain",
        content_size=len(text),
        recipient=Recipient(user=(User(user_id=f"wv:sip{number}@{DOMAIN}"),)),
        sender=Sender(user=User(user_id=f"wv:u{number}@{DOMAIN}")),
    )
    primitive = SendMessageRequest(
        delivery_report=False, message_info=info, content_data=text
    )
    transaction = Transaction(id=SLOT, mode=Mode.REQUEST, primitive=primitive)
    return post(session_id, transaction).decode("latin-1")


def post(session_id: str | None, transaction: Transaction) -> bytes:
    """Write a POST with one transaction of a handset."""
    body = encode(
        Message(
            version=Version.V1_2, session_id=session_id, transactions=(transaction,)
        )
    )
    head = (
        "POST /csp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: {TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
