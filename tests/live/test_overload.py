"""More at once than the service can do: all is answered, nothing taken is lost."""

from __future__ import annotations

import re
import select
import socket
import time

import pytest

from tests.live.gateway import GatewayService
from tests.live.rows import waiting

MANY = 3000
_T1 = 0.5
_PATIENCE = 60.0
_LIMITS = """
[limits]
turn = 0.001
[offline]
max_messages = 100000
max_bytes = "1GiB"
"""


class Peer:
    """A trusted SIP element that sends without waiting, and repeats as SIP does."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.connect(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.waiting: dict[str, bytes] = {}
        self.answers: dict[str, tuple[int, str]] = {}

    def send(self, user: str, numbers: range) -> None:
        """Send a MESSAGE for each number."""
        for number in numbers:
            name = f"burst{number}"
            self.waiting[name] = data = (
                f"MESSAGE sip:{user}@im.example.test SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{name}\r\n"
                f"From: <sip:bob@im.example.test>;tag={number}\r\n"
                f"To: <sip:{user}@im.example.test>\r\n"
                f"Call-ID: {name}\r\nCSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\n"
                "P-Asserted-Identity: <sip:bob@im.example.test>\r\n"
                "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
            ).encode()
            self.socket.send(data)

    def hear(self) -> None:
        """Wait until each has its final answer."""
        end, again = time.monotonic() + _PATIENCE, time.monotonic() + _T1
        while self.waiting:
            assert time.monotonic() < end, f"{len(self.waiting)} are not answered"
            if select.select([self.socket], [], [], 0.05)[0]:
                self._heard(self.socket.recv(65536).decode())
            if time.monotonic() > again:
                again = time.monotonic() + _T1
                for data in self.waiting.values():
                    self.socket.send(data)

    def _heard(self, text: str) -> None:
        name = re.search(r"Call-ID: (\S+)", text)
        assert name, text
        if self.waiting.pop(name[1], None):
            later = re.search(r"Retry-After: (\d+)", text)
            self.answers[name[1]] = int(text.split()[1]), later[1] if later else ""


@pytest.fixture
def service(stage):
    """The service, whose turns take new work for a millisecond."""
    service = GatewayService(stage.folder, core="sip:127.0.0.1:9;transport=udp")
    service.configure()
    with service.config.open("a", encoding="utf-8") as file:
        file.write(_LIMITS)
    service.subscribe("carol", "dave")
    return stage.start(service)


def test_a_burst_is_answered_and_what_was_taken_is_stored(service, handset):
    dave = handset(service, "dave")
    dave.open()
    peer = Peer(service.sip_port)
    with peer.socket:
        peer.send("carol", range(MANY))
        assert dave.keep_alive().code == "200"
        peer.hear()
        statuses = [status for status, _ in peer.answers.values()]
        assert set(statuses) == {202, 503}
        later = {later for status, later in peer.answers.values() if status == 503}
        assert later <= {"5", "6", "7", "8", "9", "10"}
        assert waiting(service) == statuses.count(202)
        peer.send("carol", range(MANY, MANY + 1))
        peer.hear()
        assert peer.answers[f"burst{MANY}"] == (202, "")
    assert "overload: new messages and logins are put off" in service.output()
