"""What SIP costs: reading, writing, and a whole transaction on both sides.

The anchors are ``twisted.protocols.sip`` reading the same message (its key fields as
far as it knows them) and the bare system call that sends it. Run it by
``python -m bench.sip_codec``.
"""

from __future__ import annotations

import itertools
import socket
import time
import timeit
from collections.abc import Callable

from twisted.protocols import sip as twisted_sip

from bench.report import Line, table
from gateway.sip.message import Request, Response, StreamParser, parse
from gateway.sip.transaction import (
    Hop,
    RequestReceived,
    ResponseReceived,
    TransactionLayer,
)

_TEXT = b"x" * 100
REQUEST = (
    b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"Route: <sip:core.example.com;lr>\r\n"
    b'From: "Alice" <sip:alice@example.com>;tag=49583\r\n'
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: asd88asd77a@192.0.2.1\r\n"
    b"CSeq: 1 MESSAGE\r\n"
    b"P-Asserted-Identity: <sip:alice@example.com>\r\n"
    b"Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n"
    b"User-Agent: imps-gateway of the bench, version one\r\n"
    b"Content-Type: text/plain;charset=utf-8\r\n"
    b"Content-Length: 100\r\n\r\n" + _TEXT
)
RESPONSE = (
    b"SIP/2.0 200 OK\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport=5060;"
    b"received=192.0.2.1\r\n"
    b'From: "Alice" <sip:alice@example.com>;tag=49583\r\n'
    b"To: <sip:bob@example.com>;tag=8f7d6\r\n"
    b"Call-ID: asd88asd77a@192.0.2.1\r\n"
    b"CSeq: 1 MESSAGE\r\n"
    b"Server: kamailio (5.6.3 (x86_64/linux))\r\n"
    b"Content-Length: 0\r\n\r\n"
)
_NEAR, _FAR = Hop("udp", "192.0.2.1", 5060), Hop("udp", "192.0.2.2", 5060)


def microseconds(call: Callable[[], object], number: int = 5000) -> float:
    """The best of several runs, for one call, in processor time."""
    runs = timeit.repeat(call, number=number, repeat=7, timer=time.process_time)
    return min(runs) / number * 1e6


def key_fields(data: bytes) -> object:
    """Read a message and what the gateway always asks of it."""
    message = parse(data)
    return message.via.branch, message.cseq, message.call_id, message.body


def by_twisted(data: bytes) -> object:
    """Read a message with twisted.protocols.sip, its Via and From too."""
    found: list[twisted_sip.Message] = []
    parser = twisted_sip.MessagesParser(found.append)
    parser.dataReceived(data)
    parser.dataDone()
    (message,) = found
    return twisted_sip.parseViaHeader(message.headers["via"][0])


def cycles(transport: str) -> Callable[[], object]:
    """Whole MESSAGE transactions between two layers, every byte written and read."""
    numbers = itertools.count()
    near, far = (
        TransactionLayer(
            token=lambda: f"k3n5{next(numbers)}", via=lambda hop: "192.0.2.1:5060"
        )
        for _ in range(2)
    )
    here = _NEAR._replace(transport=transport)
    there = _FAR._replace(transport=transport)
    template = parse(REQUEST)
    assert isinstance(template, Request)
    template.headers.remove("Via")
    clock = itertools.count()

    def one() -> object:
        now = next(clock) * 1e-4
        near.request(template, there, now)
        ((_, data),) = near.data_to_send()
        far.receive(parse(data), here, now)
        asked = far.next_event()
        assert isinstance(asked, RequestReceived)
        answer = asked.request.response(200, tag="8f7d6")
        far.respond(asked.transaction, answer, now)
        ((_, data),) = far.data_to_send()
        near.receive(parse(data), there, now)
        told = near.next_event()
        assert isinstance(told, ResponseReceived)
        near.handle_timer(now)
        far.handle_timer(now)
        return told

    return one


def send_call() -> Callable[[], object]:
    """Send the request as a datagram to a socket that is emptied at once."""
    target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.bind(("127.0.0.1", 0))
    source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.connect(target.getsockname())

    def one() -> object:
        source.send(REQUEST)
        return target.recv(2048)

    return one


def measure() -> list[Line]:
    """Measure every line."""
    anchor = microseconds(lambda: by_twisted(REQUEST), 2000)
    request, response = parse(REQUEST), parse(RESPONSE)
    assert isinstance(request, Request) and isinstance(response, Response)
    burst = REQUEST * 10
    plain: list[tuple[str, Callable[[], object], int]] = [
        (f"parse a request of {len(REQUEST)} bytes", lambda: parse(REQUEST), 1),
        ("parse it and read its key fields", lambda: key_fields(REQUEST), 1),
        ("parse a response", lambda: parse(RESPONSE), 1),
        ("cut a stream of ten, each", lambda: StreamParser().feed(burst), 10),
        ("write a request", request.encode, 1),
        ("begin and write a response", lambda: request.response(200).encode(), 1),
    ]
    lines = [
        Line(
            id="SIP",
            what=what,
            value=microseconds(call) / each,
            unit="us",
            anchor="twisted.protocols.sip",
            anchor_value=anchor,
            goal="parse <= 0.2" if what.startswith("parse") else "",
        )
        for what, call, each in plain
    ]
    system = microseconds(send_call())
    lines += [
        Line(
            id="SIP",
            what=f"a MESSAGE transaction, both sides, {transport}",
            value=microseconds(cycles(transport), 3000),
            unit="us",
            anchor="one datagram sent and received",
            anchor_value=system,
        )
        for transport in ("udp", "tcp")
    ]
    return lines


if __name__ == "__main__":
    print(table(measure()))
