"""A SIP core that answers 200 to everything, over UDP and TCP on one port.

Run as a program; prints its port. Only what a response needs is read (RFC 3261 8.2.6):
it is a load sink, no registrar.
"""

from __future__ import annotations

import select
import socket

_COPIED = {
    b"via",
    b"v",
    b"from",
    b"f",
    b"to",
    b"t",
    b"call-id",
    b"i",
    b"cseq",
    b"contact",
    b"m",
    b"expires",
}
_SENT = 64 * 1024


def response(head: bytes) -> bytes:
    """Answer one request with 200; nothing to an ACK or a response."""
    lines = head.split(b"\r\n")
    if lines[0].startswith((b"SIP/2.0", b"ACK ")):
        return b""
    register = lines[0].startswith(b"REGISTER ")
    found = [b"SIP/2.0 200 OK"]
    for line in lines[1:]:
        name = line[: line.find(b":")].strip().lower()
        if name not in _COPIED:
            continue
        if name in (b"contact", b"m", b"expires") and not register:
            continue
        if name in (b"to", b"t") and b";tag=" not in line:
            line += b";tag=core"
        found.append(line)
    found.append(b"Content-Length: 0\r\n\r\n")
    return b"\r\n".join(found)


class Stream:
    """One TCP connection: requests in, responses out, in order."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._data = b""

    def serve(self) -> bool:
        """Answer what is there; False when the connection has ended."""
        more = self.socket.recv(_SENT)
        if not more:
            self.socket.close()
            return False
        data = self._data + more
        replies = []
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end]
            total = end + 4 + _length(head)
            if len(data) < total:
                break
            # Blank lines between messages keep a connection alive (RFC 5626).
            replies.append(response(head.lstrip(b"\r\n")))
            data = data[total:]
        self._data = data
        if answer := b"".join(replies):
            self.socket.sendall(answer)
        return True


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l"):
            return int(value)
    return 0


def main() -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = listener.getsockname()[1]
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    datagrams.bind(("127.0.0.1", port))
    datagrams.setblocking(False)
    print(port, flush=True)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    poll.register(datagrams.fileno(), select.EPOLLIN)
    streams: dict[int, Stream] = {}
    while True:
        for handle, _ in poll.poll():
            if handle == datagrams.fileno():
                _drain(datagrams)
            elif handle == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poll.register(sock.fileno(), select.EPOLLIN)
                streams[sock.fileno()] = Stream(sock)
            elif not streams[handle].serve():
                del streams[handle]


def _drain(datagrams: socket.socket) -> None:
    while True:
        try:
            data, source = datagrams.recvfrom(_SENT)
        except BlockingIOError:
            return
        if answer := response(data.partition(b"\r\n\r\n")[0]):
            datagrams.sendto(answer, source)


if __name__ == "__main__":
    main()
