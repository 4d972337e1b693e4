"""A small SIP terminal on sockets and threads, independent of the gateway's stack.

It is the outside judge of the live tests: it registers with Digest (RFC 3261,
RFC 2617), sends and receives MESSAGE (RFC 3428) over UDP and TCP, repeats its UDP
requests and answers repeated ones as it did the first.
"""

from __future__ import annotations

import hashlib
import queue
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

_T1 = 0.5
_T2 = 4.0


class Message:
    """One SIP message as it came, headers unfolded and otherwise untouched."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        text = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8"))
        self.first, *lines = text.split("\r\n")
        self.headers = [
            (name.strip().lower(), value.strip())
            for name, _, value in (line.partition(":") for line in lines)
        ]
        words = self.first.split()
        self.status = int(words[1]) if words[0] == "SIP/2.0" else 0
        self.method = "" if self.status else words[0]

    def get(self, name: str) -> str:
        """Return the values of a header joined by commas, "" when absent."""
        return ", ".join(self.all(name))

    def all(self, name: str) -> list[str]:
        """Return the values of a header, one a line."""
        return [value for key, value in self.headers if key == name.lower()]

    def __repr__(self) -> str:
        return f"<{self.first} Call-ID {self.get('call-id')}>"


def digest(method: str, uri: str, challenge: str, user: str, password: str) -> str:
    """Answer an MD5 challenge with qop=auth (RFC 2617 3.2.2)."""
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
    cnonce, count = secrets.token_hex(4), "00000001"

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    secret = md5(f"{user}:{fields['realm']}:{password}")
    parts = (secret, fields["nonce"], count, cnonce, "auth", md5(f"{method}:{uri}"))
    return (
        f'Digest username="{user}", realm="{fields["realm"]}", '
        f'nonce="{fields["nonce"]}", uri="{uri}", qop=auth, nc={count}, '
        f'cnonce="{cnonce}", response="{md5(":".join(parts))}", algorithm=MD5'
    )


class SipUser:
    """One terminal on one UDP socket or one TCP connection to its proxy.

    ``answer`` gives the status of the final response to a request that comes; the
    requests themselves are kept for :meth:`expect`.
    """

    def __init__(
        self,
        user: str,
        proxy: tuple[str, int],
        *,
        domain: str = "im.example.test",
        password: str | None = None,
        transport: str = "udp",
        port: int = 0,
    ) -> None:
        self.user = user
        self.aor = f"sip:{user}@{domain}"
        self.proxy = proxy
        self.domain = domain
        self.password = user if password is None else password
        self.transport = transport
        self.answer: Callable[[Message], int] = lambda _: 200
        self.received: queue.Queue[Message] = queue.Queue()
        self._responses: dict[str, queue.Queue[Message]] = {}
        self._answered: dict[tuple[str, str], bytes] = {}
        self._cseq = 0
        self._socket = self._open(port)
        self.port: int = self._socket.getsockname()[1]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket and end the reading thread."""
        if self.transport == "udp":
            # A close does not end a recvfrom in another thread; a datagram does.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                self._closing = True
                waker.sendto(b"", ("127.0.0.1", self.port))
        else:
            self._closing = True
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                # The proxy closed first.
                pass
        self._reader.join(5)
        self._socket.close()

    @property
    def contact(self) -> str:
        """The address at which this terminal takes requests."""
        mark = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"<sip:{self.user}@127.0.0.1:{self.port}{mark}>"

    def register(
        self, *, expires: int = 60, authenticate: bool = True, contact: str = ""
    ) -> Message:
        """Register this terminal, or another contact of its user."""
        return self.request(
            "REGISTER",
            f"sip:{self.domain}",
            to=self.aor,
            headers=(f"Contact: {contact or self.contact};expires={expires}",),
            authenticate=authenticate,
        )

    def message(self, to: str, text: str, **options: object) -> Message:
        """Send a text to an address; return the final response."""
        return self.request(
            "MESSAGE",
            to,
            headers=("Content-Type: text/plain;charset=UTF-8",),
            body=text.encode(),
            **options,  # type: ignore[arg-type]
        )

    def request(
        self,
        method: str,
        uri: str,
        *,
        to: str | None = None,
        headers: tuple[str, ...] = (),
        body: bytes = b"",
        authenticate: bool = True,
        timeout: float = 20.0,
    ) -> Message:
        """Send a request, answer one challenge, return the final response.

        Raises TimeoutError when none comes.
        """
        call_id, tag = secrets.token_hex(8), secrets.token_hex(4)
        credentials: tuple[str, ...] = ()
        while True:
            self._cseq += 1
            lines = (
                f"{method} {uri} SIP/2.0",
                f"Via: SIP/2.0/{self.transport.upper()} 127.0.0.1:{self.port};rport"
                f";branch=z9hG4bK{secrets.token_hex(8)}",
                "Max-Forwards: 70",
                f"From: <{self.aor}>;tag={tag}",
                f"To: <{to or uri}>",
                f"Call-ID: {call_id}",
                f"CSeq: {self._cseq} {method}",
                *headers,
                *credentials,
                f"Content-Length: {len(body)}",
            )
            final = self._exchange(call_id, _wire(lines, body), timeout)
            if final.status not in (401, 407) or credentials or not authenticate:
                return final
            asked, answered = (
                ("www-authenticate", "Authorization")
                if final.status == 401
                else ("proxy-authenticate", "Proxy-Authorization")
            )
            proof = digest(method, uri, final.get(asked), self.user, self.password)
            credentials = (f"{answered}: {proof}",)

    def expect(
        self,
        method: str = "MESSAGE",
        *,
        timeout: float = 20.0,
        where: Callable[[Message], bool] = lambda _: True,
    ) -> Message:
        """Return the next request of this method.

        Raises TimeoutError when none comes.
        """
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            try:
                message = self.received.get(timeout=left)
            except queue.Empty:
                break
            if message.method == method and where(message):
                return message
        raise TimeoutError(f"{self.aor} got no {method} in {timeout} s")

    def _open(self, port: int) -> socket.socket:
        self._closing = False
        if self.transport == "tcp":
            connection = socket.create_connection(self.proxy, 10)
            connection.settimeout(None)
            return connection
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", port))
        return datagrams

    def _exchange(self, call_id: str, wire: bytes, timeout: float) -> Message:
        responses = self._responses[call_id] = queue.Queue()
        end, pause = time.monotonic() + timeout, _T1
        cseq = Message(wire).get("cseq")
        self._send(wire, self.proxy)
        while (left := end - time.monotonic()) > 0:
            try:
                response = responses.get(timeout=min(pause, left))
            except queue.Empty:
                if self.transport == "udp":
                    self._send(wire, self.proxy)
                pause = min(2 * pause, _T2)
                continue
            if response.status >= 200 and response.get("cseq") == cseq:
                return response
        raise TimeoutError(f"{self.aor}: no answer to {Message(wire).first}")

    def _send(self, wire: bytes, address: tuple[str, int]) -> None:
        if self.transport == "udp":
            self._socket.sendto(wire, address)
        else:
            self._socket.sendall(wire)

    def _read(self) -> None:
        buffer = b""
        while not self._closing:
            try:
                data, address = self._socket.recvfrom(65535)
            except OSError:
                return
            if self.transport == "udp":
                # What is shorter than a header is a keep-alive.
                if len(data) > 4:
                    self._got(Message(data), address)
                continue
            if not data:
                return
            buffer += data
            while (message := _framed(buffer)) is not None:
                buffer = buffer[len(message.raw) :]
                self._got(message, self.proxy)

    def _got(self, message: Message, address: tuple[str, int]) -> None:
        if message.status:
            if waiting := self._responses.get(message.get("call-id")):
                waiting.put(message)
            return
        if message.method == "ACK":
            return
        key = (message.all("via")[0], message.get("cseq"))
        if key not in self._answered:
            status = self.answer(message)
            self._answered[key] = self._response(message, status)
            self.received.put(message)
        self._send(self._answered[key], address)

    def _response(self, request: Message, status: int) -> bytes:
        to = request.get("to")
        if "tag=" not in to:
            to += f";tag={secrets.token_hex(4)}"
        lines = (
            f"SIP/2.0 {status} {'OK' if status < 300 else 'No'}",
            *(f"Via: {via}" for via in request.all("via")),
            f"From: {request.get('from')}",
            f"To: {to}",
            f"Call-ID: {request.get('call-id')}",
            f"CSeq: {request.get('cseq')}",
            "Content-Length: 0",
        )
        return _wire(lines, b"")


def _wire(lines: tuple[str, ...], body: bytes) -> bytes:
    return "\r\n".join((*lines, "", "")).encode() + body


def _framed(buffer: bytes) -> Message | None:
    """Take the first whole message of a stream (RFC 3261 18.3)."""
    head, separator, rest = buffer.partition(b"\r\n\r\n")
    if not separator:
        return None
    found = re.search(rb"\r\n(?:Content-Length|l)[ \t]*:[ \t]*(\d+)", head, re.I)
    length = int(found.group(1)) if found else 0
    if len(rest) < length:
        return None
    return Message(head + separator + rest[:length])
