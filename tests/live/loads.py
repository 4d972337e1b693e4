"""Load on the bridge from both sides, by peers that go on after whatever happens.

Each peer is a thread that does what the real one does when the service is away: a SIP
sender repeats its request, a handset posts again in the session that it has. What they
see goes into one :class:`~tests.live.ledger.Ledger`.
"""

from __future__ import annotations

import http.client
import itertools
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.live.gateway import GatewayService
from tests.live.handset import CONTENT_TYPES, Answer, Handset, Transaction
from tests.live.ledger import Ledger
from tests.live.sipuser import Message, SipUser

_PAUSE = 0.01
_AWAY = 0.1
_REPEAT = 0.25
_NEW_TRANSACTION = 3.0
_LOGGED_OUT = 1.0


class Lost(Exception):
    """A POST died: nobody knows what became of it."""


class Peer(threading.Thread):
    """Does one step after the other until it is told to stop; a step is finished."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.ledger = ledger
        self.texts = 0
        self.still = threading.Event()
        """Set: it sends nothing new, but goes on to receive."""
        self.idle = False
        """Whether it has done a whole step since then."""
        self._over = threading.Event()

    def run(self) -> None:
        """Step on; what goes wrong in a peer is a fault of the run."""
        try:
            while not self._over.is_set():
                still = self.still.is_set()
                self.step()
                self.idle = still
                time.sleep(_PAUSE)
        except Exception as error:
            self.ledger.fault(f"{self.name}: {type(error).__name__}: {error}")

    def step(self) -> None:
        """Do the next thing."""
        raise NotImplementedError

    def next_text(self, recipient: str) -> str:
        """Make the next text for a recipient."""
        self.texts += 1
        return f"{self.name}>{recipient} {self.texts}"

    def end(self) -> None:
        """Stop after the step that is under way."""
        self._over.set()
        self.join()


class TrustedSender(Peer):
    """A peer of the core's side: asserts who it is, and repeats till it is answered.

    However often it repeats a request, in new transactions too, its Call-ID, CSeq and
    From tag are those of the first, so that it is one message.
    """

    def __init__(
        self, ledger: Ledger, name: str, recipient: str, gateway: GatewayService
    ) -> None:
        super().__init__(ledger, name)
        self.recipient = recipient
        self._domain = gateway.domain
        self._gateway = ("127.0.0.1", gateway.sip_port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(_REPEAT)
        self._last: tuple[str, str, int] | None = None

    def step(self) -> None:
        """Send the next message; now and then the one before once more."""
        if self.still.is_set():
            return
        if self._last is not None and self.texts % 8 == 0:
            # Its answer may have been lost on the way to whoever sent it.
            text, ids, status = self._last
            again = self._until_taken(text, ids)
            if again != status:
                self.ledger.fault(f"{text!r} was answered {status}, then {again}")
        text, ids = self.next_text(self.recipient), secrets.token_hex(8)
        self.ledger.tried(text)
        status = self._until_taken(text, ids)
        self.ledger.acknowledged(text)
        self._last = text, ids, status

    def _until_taken(self, text: str, ids: str) -> int:
        while not self._over.is_set():
            status = self._transaction(text, ids)
            if status // 100 == 2:
                return status
            if status not in (0, 480, 503):
                raise AssertionError(f"{text!r} was answered {status}")
            time.sleep(_AWAY)
        raise AssertionError(f"{text!r} was never taken")

    def _transaction(self, text: str, ids: str) -> int:
        """Send a request until an answer comes; 0 when none does."""
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        port = self._socket.getsockname()[1]
        body = text.encode()
        lines = (
            f"MESSAGE sip:{self.recipient}@{self._domain} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{port};rport;branch={branch}",
            "Max-Forwards: 70",
            f"From: <sip:{self.name}@{self._domain}>;tag={ids}",
            f"To: <sip:{self.recipient}@{self._domain}>",
            f"Call-ID: {ids}",
            "CSeq: 1 MESSAGE",
            f"P-Asserted-Identity: <sip:{self.name}@{self._domain}>",
            "Content-Type: text/plain;charset=UTF-8",
            f"Content-Length: {len(body)}",
        )
        wire = "\r\n".join((*lines, "", "")).encode() + body
        until = time.monotonic() + _NEW_TRANSACTION
        while time.monotonic() < until:
            self._socket.sendto(wire, self._gateway)
            try:
                while True:
                    answer = Message(self._socket.recv(65535))
                    if branch in answer.get("via") and answer.status >= 200:
                        return answer.status
            except OSError:
                # A time-out, or ICMP's "port unreachable": it may come back.
                continue
        return 0

    def end(self) -> None:
        """Stop, and close the socket."""
        super().end()
        self._socket.close()


class CoreSender(Peer):
    """A SIP user behind the core. A second try of his is a message of its own."""

    def __init__(self, ledger: Ledger, user: SipUser, recipient: str) -> None:
        super().__init__(ledger, user.user)
        self.user = user
        self.recipient = recipient

    def step(self) -> None:
        """Send the next message until the core says that it is taken."""
        if self.still.is_set():
            return
        text = self.next_text(self.recipient)
        while not self._over.is_set():
            self.ledger.tried(text)
            try:
                to = f"sip:{self.recipient}@{self.user.domain}"
                status = self.user.message(to, text, timeout=40.0).status
            except TimeoutError:
                continue
            if status // 100 == 2:
                self.ledger.acknowledged(text)
                return
            # 407 to credentials: the core began anew between challenge and answer.
            if status not in (407, 408, 480, 500, 503, 504):
                raise AssertionError(f"{text!r} was answered {status}")
            time.sleep(_AWAY)


def receiver(ledger: Ledger, user: SipUser) -> None:
    """Have a SIP user note what comes to him; he takes everything."""

    def answer(message: Message) -> int:
        if message.method == "MESSAGE":
            text = message.body.decode()
            ids = (message.get(name) for name in ("call-id", "cseq", "from"))
            ledger.came(user.user, text, " ".join(ids), sip=message.get("via"))
        return 200

    user.answer = answer


class Phone(Handset):
    """A handset whose POST dies with the service; its session does not."""

    def post(
        self, body: bytes, content_type: str | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Post a body once; raises Lost when there is no answer to it."""
        headers = {"Content-Type": content_type or CONTENT_TYPES[self.version]}
        try:
            self._connection.request("POST", self.path, body, headers)
            response = self._connection.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Lost(str(error)) from error

    def exchange(self, content: str, mode: str, number: str) -> Answer:
        """Exchange one primitive; HTTP 503 says as much as no answer."""
        response, body = self.post(self.message(content, mode, number))
        if response.status == 503:
            raise Lost("HTTP 503")
        assert response.status == 200, (response.status, body)
        answer = Answer(body)
        self._offers += (t for t in answer.transactions if t.mode == "Request")
        return answer

    def waiting(self) -> Transaction | None:
        """Give the next server transaction that came and was not answered yet."""
        return self._offers.popleft() if self._offers else None


class Mobile(Peer):
    """The user of a handset: sends, polls and confirms, in one session for ever.

    With ``recipient`` None he sends nothing; with ``comes_and_goes`` he logs out when
    nothing is left for him, and in again after a while. When a confirmation dies, every
    other one is said again (with ``stubborn`` every one); for the others the message
    has to be offered once more.
    """

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        gateway: GatewayService,
        recipient: str | None = None,
        *,
        comes_and_goes: bool = False,
        stubborn: bool = False,
    ) -> None:
        super().__init__(ledger, name)
        self.recipient = recipient
        self.comes_and_goes = comes_and_goes
        self.stubborn = stubborn
        self._lost_confirmations = 0
        self._domain = gateway.domain
        user = f"wv:{name}@{gateway.domain}"
        self.phone = Phone(gateway.http_port, user, gateway.password(name))

    def step(self) -> None:
        """Send one message, then take what there is."""
        if not self.phone.session and not self._attempt(self._open):
            # Half a login is no session that is used.
            self.phone.session = ""
            time.sleep(_AWAY)
            return
        if self.recipient is not None and not self.still.is_set():
            self._send(self.recipient)
        if self._take() == 0 and self.comes_and_goes and not self.still.is_set():
            if self._attempt(self.phone.logout):
                self.phone.session = ""
                self._over.wait(_LOGGED_OUT)

    def _open(self) -> bool:
        if self.phone.login().code != "200":
            return False
        agreed = self.phone.negotiate(), self.phone.services()
        return not any(answer.code == "503" for answer in agreed)

    def _attempt(self, request: Callable[..., Any], *arguments: Any) -> Any:
        """Do a request; None, after a pause, when its POST died."""
        try:
            return request(*arguments)
        except Lost:
            time.sleep(_AWAY)
            return None

    def _send(self, recipient: str) -> None:
        text = self.next_text(recipient)
        to = f"wv:{recipient}@{self._domain}"
        while not self._over.is_set():
            self.ledger.tried(text)
            answer = self._attempt(self.phone.send, to, text)
            if answer is None:
                continue
            if answer.code == "200":
                self.ledger.acknowledged(text, answer.text("MessageID"))
                return
            if answer.code not in ("500", "503", "504", "533"):
                raise AssertionError(f"{text!r} was answered {answer.code}")
            time.sleep(_AWAY)

    def _take(self) -> int:
        """Poll once and confirm what that brings; how many messages."""
        if self._attempt(self.phone.poll) is None:
            return 1
        for count in itertools.count():
            offer = self.phone.waiting()
            if offer is None:
                return count
            if offer.name == "DeliveryReport-Request":
                self.ledger.reported(offer.text("MessageID"))
                self._attempt(self.phone.succeed, offer)
                continue
            assert offer.name == "NewMessage", offer.name
            number, text = offer.text("MessageID"), offer.text("ContentData")
            self.ledger.came(self.name, text, number)
            self._confirm(offer)
        raise AssertionError("endless")

    def _confirm(self, offer: Transaction) -> None:
        while self._attempt(self.phone.confirm, offer) is None:
            self._lost_confirmations += 1
            again = self.stubborn or self._lost_confirmations % 2 == 0
            if not again or self._over.is_set():
                return
        self.ledger.confirm(offer.text("MessageID"))

    def end(self) -> None:
        """Stop, and close the connection."""
        super().end()
        self.phone.__exit__()
