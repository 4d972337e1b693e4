"""tshark, which shares no code with us, judges what we write."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest

from gateway.sip.digest import Challenge, Challenger, authorization
from gateway.sip.headers import quote
from gateway.sip.message import NameAddr, Request, Uri, parse
from gateway.sip.transaction import Hop, RequestReceived, TransactionLayer
from tests.components.tshark.mkpcap import write_pcap
from tests.sip.samples import request

UDP = Hop("udp", "127.0.0.1", 5060)


def exchange() -> list[bytes]:
    """Requests and responses as the layers write them, with every odd value."""
    numbers = itertools.count()
    layer = TransactionLayer(
        token=lambda: f"t{next(numbers)}", via=lambda hop: "127.0.0.1:5060"
    )
    server = Challenger("example.com", b"s", 60)
    challenge = server.challenge(1, "r", algorithm="SHA-256")
    packets = []
    for method in ("REGISTER", "MESSAGE", "OPTIONS", "INVITE"):
        asked = request(method, 7, body="h\u00e9llo".encode())
        name = NameAddr(
            Uri.parse("sip:a%20b;x@[2001:db8::1]:5062;lr"),
            'Zo\u00eb "Z", \\ <z>',
            {"tag": "t1"},
        )
        asked.headers.set("From", str(name))
        asked.headers.set("Contact", '<sip:a@h>;+sip.instance="<urn:uuid:0-1>"')
        asked.headers.set("Content-Type", "text/plain;charset=utf-8")
        asked.headers.set("Subject", "\u6771 (a, b) " + quote("c"))
        answer = authorization(
            Challenge.parse(challenge),
            method=method,
            uri=asked.uri,
            username="alice",
            password="pw",
            cnonce="c",
        )
        asked.headers.set("Authorization", answer)
        layer.request(asked, UDP, 0)
        packets.append(layer.data_to_send()[0][1])
        arrived = parse(packets[-1])
        layer.receive(arrived, Hop("udp", "192.0.2.7", 40000), 0)
        event = layer.next_event()
        assert isinstance(event, RequestReceived)
        refusal = event.request.response(401, tag="b")
        refusal.headers.set("WWW-Authenticate", challenge)
        layer.respond(event.transaction, refusal, 0)
        packets += [data for _, data in layer.data_to_send()]
        # The refusal back to the client half; an INVITE's is acknowledged.
        layer.receive(parse(packets[-1]), UDP, 0)
        packets += [data for _, data in layer.data_to_send()]
        layer.next_event()
    return packets


def tshark(capture: Path, *arguments: str) -> list[str]:
    """Return the lines that tshark prints of a capture."""
    command = ["tshark", "-n", "-r", str(capture), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.splitlines()


@pytest.mark.component("tshark")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_tshark_objects_to_nothing_and_reads_what_we_mean(
    tmp_path: Path, transport: str
) -> None:
    """No warning, and method, status, tag and CSeq are those that we wrote."""
    packets = exchange()
    capture = tmp_path / "sip.pcap"
    write_pcap(capture, [(transport, 5060, 5060, data) for data in packets])
    objections = "_ws.malformed || _ws.expert.severity >= 0x400000 || !sip"
    assert tshark(capture, "-Y", objections) == []
    fields = ("sip.Method", "sip.Status-Code", "sip.CSeq.seq", "sip.from.tag")
    options = [option for field in fields for option in ("-e", field)]
    lines = tshark(capture, "-Y", "sip", "-T", "fields", *options)
    read = [parse(data) for data in packets]
    expected = [
        (m.method, "", str(m.cseq.number), "t1")
        if isinstance(m, Request)
        else ("", str(m.status), str(m.cseq.number), "t1")
        for m in read
    ]
    assert [tuple(line.split("\t")) for line in lines] == expected
    assert [m.method for m in read if isinstance(m, Request)][-1] == "ACK"
