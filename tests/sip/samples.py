"""Messages that several tests begin from."""

from __future__ import annotations

from gateway.sip.message import Headers, Request

MESSAGE = (
    b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Alice" <sip:alice@example.com>;tag=49583\r\n'
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: asd88asd77a@192.0.2.1\r\n"
    b"CSeq: 1 MESSAGE\r\n"
    b"Content-Type: text/plain\r\n"
    b"Content-Length: 5\r\n"
    b"\r\n"
    b"hello"
)

OK = (
    b"SIP/2.0 200 OK\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport=5060;"
    b"received=192.0.2.1\r\n"
    b"From: <sip:alice@example.com>;tag=49583\r\n"
    b"To: <sip:bob@example.com>;tag=ab8asdasd9\r\n"
    b"Call-ID: asd88asd77a@192.0.2.1\r\n"
    b"CSeq: 1 MESSAGE\r\n"
    b"Content-Length: 0\r\n"
    b"\r\n"
)


def request(method: str = "MESSAGE", number: int = 1, body: bytes = b"") -> Request:
    """Make a request that has no Via yet."""
    headers = Headers.of(
        [
            ("Max-Forwards", "70"),
            ("From", "<sip:alice@example.com>;tag=a1"),
            ("To", "<sip:bob@example.com>"),
            ("Call-ID", f"call-{number}@example.com"),
            ("CSeq", f"{number} {method}"),
        ]
    )
    return Request(method=method, uri="sip:bob@example.com", headers=headers, body=body)


def changed(old: bytes, new: bytes, message: bytes = MESSAGE) -> bytes:
    """Replace a part that must be there."""
    assert message.count(old) == 1, old
    return message.replace(old, new)
