"""What must hold for any bytes at all: shared by the property tests and the fuzzer."""

from __future__ import annotations

import itertools

from gateway.errors import Malformed
from gateway.sip.digest import Challenge, Challenger, choose, parse_credentials
from gateway.sip.message import (
    CSeq,
    KeepAlive,
    NameAddr,
    Request,
    Response,
    SipMalformed,
    StreamParser,
    Uri,
    Via,
    parse,
)
from gateway.sip.transaction import Hop, RequestReceived, TransactionLayer

SOURCE = Hop("udp", "192.0.2.9", 5060)
_LISTS = ("Via", "Route", "Contact", "Allow", "P-Asserted-Identity", "X-Any")


def check_datagram(data: bytes) -> None:
    """Bytes are a message or SipMalformed; a message can be written and read again."""
    try:
        message = parse(data, max_body=4096)
    except SipMalformed as error:
        if error.request is not None:
            parse(answerable(error.request.response(error.status, tag="t").encode()))
        return
    again = parse(message.encode())
    assert again.body == message.body
    for headers in (message.headers, again.headers):
        headers.remove("Content-Length")
    assert again == message
    read_values(message)
    check_layer(message)


def answerable(data: bytes) -> bytes:
    """Complete a response to a request that lacked what a response needs."""
    for name in (b"From", b"To", b"Call-ID", b"CSeq"):
        head = data.partition(b"\r\n\r\n")[0]
        lines = [line for line in head.split(b"\r\n") if line.startswith(name + b": ")]
        body = data.partition(b"\r\n\r\n")[2]
        kept = [line for line in head.split(b"\r\n") if line not in lines]
        value = b"1 MESSAGE" if name == b"CSeq" else b"<sip:a@b>;tag=1"
        data = b"\r\n".join([*kept, name + b": " + value]) + b"\r\n\r\n" + body
    return data


def read_values(message: Request | Response) -> None:
    """Each value is read or Malformed, and what is read is written the same."""
    for name, value in list(message.headers.items()):
        for kind in (NameAddr, Uri, Via, CSeq):
            check_value(kind, value)
        for header in (value, f"Digest {value}"):
            check_digest(header)
        try:
            message.headers.values(name)
        except Malformed:
            continue
    for name in _LISTS:
        try:
            message.headers.values(name)
        except Malformed:
            continue


def check_value(kind: type[NameAddr | Uri | Via | CSeq], text: str) -> None:
    """str() of what was read reads the same."""
    try:
        read = kind.parse(text)
    except Malformed:
        return
    assert kind.parse(str(read)) == read, (kind, text)


def check_digest(header: str) -> None:
    """Challenges and credentials of any text raise Malformed at most."""
    choose([header])
    for read in (parse_credentials, Challenge.parse):
        try:
            read(header)
        except Malformed:
            continue
    verdict = Challenger("r", b"s", 60).check(header, "A", lambda user: "pw", b"", 1)
    assert not verdict.ok


def check_layer(message: Request | Response) -> None:
    """Any message may come to the layer; a request is answered at most once."""
    layer = TransactionLayer(
        token=map(str, itertools.count()).__next__, via=lambda hop: "h:1"
    )
    layer.receive(message, SOURCE, 0)
    event = layer.next_event()
    if isinstance(event, RequestReceived):
        layer.find_invite(event.request)
        response = event.request.response(200, tag="t")
        layer.respond(event.transaction, response, 1)
        layer.receive(event.request, SOURCE, 2)
        assert not isinstance(layer.next_event(), RequestReceived)
    for _, data in layer.data_to_send():
        assert isinstance(parse(data), Response)
    layer.handle_timer(1000)
    layer.handle_timer(2000)
    assert layer.next_timer() is None


def check_stream(data: bytes, cuts: list[int]) -> None:
    """However the bytes are cut, the same messages come and the same end."""
    assert outcome(data, []) == outcome(data, cuts)


def outcome(
    data: bytes, cuts: list[int]
) -> tuple[list[Request | Response | KeepAlive], str]:
    """Feed the pieces between the cuts; return the messages and the fault."""
    parser = StreamParser(max_body=4096)
    found: list[Request | Response | KeepAlive] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, end in itertools.pairwise(edges):
            found += parser.feed(data[start:end])
    except SipMalformed:
        assert parser.fault is not None
    return found, str(parser.fault)
