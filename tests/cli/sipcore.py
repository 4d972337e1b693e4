"""A SIP core for one terminal: challenges, takes a registration, takes and sends texts.

It stands on the parser alone and keeps no transactions, so that it judges those of the
terminal. It runs in memory, or behind a UDP or TCP socket in a thread.
"""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.sip.digest import Challenger
from gateway.sip.message import KeepAlive, StreamParser, parse
from gateway.sip.model import Request, Response

_HEADERS = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


class SipCore:
    """Takes one message and gives those that follow from it.

    ``ask`` is the status of its challenges for MESSAGE (REGISTER is asked by 401).
    """

    def __init__(self) -> None:
        self.ask = 401
        self.password = "secret"
        self.message_status = 200
        self.granted = 600
        self.on_text: Callable[[str], list[bytes]] = lambda text: []
        self.expires: list[int] = []
        self.contacts: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.challenged = 0
        self.responses: list[Response] = []
        self._numbers = itertools.count(1)
        self._challenger = Challenger("example.com", b"secret", 300.0)

    @property
    def answers(self) -> list[int]:
        """The statuses that its own requests were answered with."""
        return [response.status for response in self.responses]

    def receive(self, data: bytes) -> list[bytes]:
        """Take one datagram or one message of a stream."""
        message = parse(data)
        if isinstance(message, Response):
            self.responses.append(message)
            return []
        follow: list[bytes] = []
        response = self._answer(message, follow)
        return [response.encode(), *follow]

    def _answer(self, request: Request, follow: list[bytes]) -> Response:
        status = 401 if request.method == "REGISTER" else self.ask
        asks, answers = _HEADERS[status]
        verdict = self._challenger.check(
            request.headers.get(answers) or "",
            request.method,
            {"bob": self.password}.get,
            now=1.0,
            uri=request.uri,
        )
        if not verdict.ok:
            self.challenged += 1
            response = request.response(status, tag="core")
            challenge = self._challenger.challenge(1.0, f"r{next(self._numbers)}")
            response.headers.set(asks, challenge)
            return response
        if request.method == "REGISTER":
            self.expires.append(int(request.headers.get("Expires") or "0"))
            self.contacts.append(request.headers.get("Contact") or "")
            response = request.response(200, tag="core")
            response.headers.set(
                "Contact", f"{self.contacts[-1]};expires={self.granted}"
            )
            return response
        text = request.body.decode()
        if self.message_status == 200:
            self.texts.append((request.uri, text))
            follow += self.on_text(text)
        return request.response(self.message_status, tag="core")

    def message(
        self,
        text: str,
        identity: str = "",
        *,
        method: str = "MESSAGE",
        media: str = "text/plain",
    ) -> bytes:
        """Make a request from alice; with ``identity`` asserted, From is another."""
        number = next(self._numbers)
        sender = "sip:anonymous@example.com" if identity else "sip:alice@example.com"
        lines = [
            f"{method} sip:bob@192.0.2.9:40000 SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKcore{number}",
            f"From: <{sender}>;tag=a{number}",
            "To: <sip:bob@example.com>",
            f"Call-ID: core{number}",
            f"CSeq: 1 {method}",
            f"Content-Type: {media}",
            f"Content-Length: {len(text.encode())}",
        ]
        if identity:
            lines.append("P-Asserted-Identity: <sip:alice@example.com>")
        return "\r\n".join([*lines, "", text]).encode()


@contextmanager
def served(
    core: SipCore, transport: str, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Put a core behind a socket on loopback; gives its URI."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(30)
        serve = _serve_udp if transport == "udp" else _serve_stream
        arguments: tuple[object, ...] = (core, listener)
        if transport != "udp":
            listener.listen()
            arguments = (core, listener, tls)
        thread = threading.Thread(target=serve, args=arguments, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        host = "127.0.0.1" if tls is None else "localhost"
        yield f"sip:{host}:{port};transport={transport}"
        if transport == "udp":
            with socket.socket(socket.AF_INET, kind) as end:
                end.sendto(b"end", ("127.0.0.1", port))
        thread.join(30)
        assert not thread.is_alive()


def _serve_udp(core: SipCore, listener: socket.socket) -> None:
    while (received := listener.recvfrom(65536))[0] != b"end":
        for answer in core.receive(received[0]):
            listener.sendto(answer, received[1])


def _serve_stream(
    core: SipCore, listener: socket.socket, tls: ssl.SSLContext | None
) -> None:
    """Serve one connection, until the terminal closes it."""
    connection, _ = listener.accept()
    try:
        if tls is not None:
            connection = tls.wrap_socket(connection, server_side=True)
        with connection:
            _serve_connection(core, connection)
    except ssl.SSLError:
        connection.close()  # the terminal does not trust us


def _serve_connection(core: SipCore, connection: socket.socket) -> None:
    stream = StreamParser()
    while data := connection.recv(65536):
        for message in stream.feed(data):
            if isinstance(message, KeepAlive):
                continue
            for answer in core.receive(message.encode()):
                connection.sendall(answer.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
