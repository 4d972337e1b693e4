"""A SIP registrar that believes everybody, or challenges every REGISTER with Digest.

Run as a program, ``digest`` as its argument for challenges (RFC 2617, MD5, qop auth);
prints its port. It counts the registrations granted: a datagram ``COUNT`` is answered
with their number. Credentials are taken as they come, unchecked: what is measured is
the other side.
"""

from __future__ import annotations

import select
import socket
import sys

from bench.sipcore import response

_CHALLENGE = (
    b'WWW-Authenticate: Digest realm="bench.example", qop="auth", algorithm=MD5, '
    b'nonce="0123456789abcdef0123456789abcdef"\r\nContent-Length: 0'
)
_SENT = 64 * 1024


def challenge(head: bytes) -> bytes:
    """Answer a request with 401."""
    answer = response(head).replace(b"200 OK", b"401 Unauthorized", 1)
    return answer.replace(b"Content-Length: 0", _CHALLENGE, 1)


def main() -> None:
    """Serve until killed."""
    digest = sys.argv[1:] == ["digest"]
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    datagrams.bind(("127.0.0.1", 0))
    datagrams.setblocking(False)
    print(datagrams.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(datagrams.fileno(), select.EPOLLIN)
    granted = 0
    while True:
        poll.poll()
        while True:
            try:
                data, source = datagrams.recvfrom(_SENT)
            except BlockingIOError:
                break
            if data == b"COUNT":
                datagrams.sendto(b"%d" % granted, source)
                continue
            head = data.partition(b"\r\n\r\n")[0]
            if digest and b"\r\nAuthorization: " not in head:
                datagrams.sendto(challenge(head), source)
            elif answer := response(head):
                granted += head.startswith(b"REGISTER ")
                datagrams.sendto(answer, source)


if __name__ == "__main__":
    main()
