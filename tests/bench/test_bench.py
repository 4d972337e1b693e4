"""The bench's own programs: what they send, count and print."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as command
from bench.load import SLOT, whole
from bench.processes import SERVER_CPU, Target, listening, load
from bench.report import Line, save, table
from bench.service import send_message
from bench.sipcore import response
from gateway.csp.messaging import SendMessageRequest
from gateway.csp.xmlsyntax import decode

POST = (
    "POST /csp HTTP/1.1\r\nHost: a\r\nContent-Type: application/vnd.wv.csp.xml\r\n"
    f"Content-Length: 8\r\n\r\n{SLOT}"
)
MESSAGE = (
    b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK1;rport\r\n"
    b"Max-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\n"
    b"To: <sip:bob@example.com>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n"
    b"Contact: <sip:a@127.0.0.1>"
)


@pytest.mark.parametrize(
    "module", ["bench.constant_reply", "bench.anchors.twisted_web"]
)
def test_constant_replies_under_load(module: str) -> None:
    """The generator drives both constant servers, and counts what it got."""
    with listening(module, SERVER_CPU) as server:
        [found] = load([Target(server, [POST] * 4)], in_flight=2, rounds=1, seconds=0.2)
    assert found["count"] > 0
    assert found["errors"] == 0
    assert found["total"] > found["count"]
    assert found["cpu_us"] >= 0


def test_replies_that_are_not_as_needed() -> None:
    """A figure is never made of failures."""
    with listening("bench.constant_reply", SERVER_CPU) as server:
        target = Target(server, [POST], ["<Code>200</Code>"])
        with pytest.raises(RuntimeError, match="not as needed"):
            load([target], in_flight=1, rounds=1, seconds=0.1)


def test_whole_replies() -> None:
    """A reply is complete when its body is."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    assert [whole(reply[:cut]) for cut in (20, 40, len(reply) - 1, len(reply))] == [
        False,
        False,
        False,
        True,
    ]


def test_core_answers() -> None:
    """A response copies what RFC 3261 8.2.6 asks for, and tags the To."""
    found = response(MESSAGE).split(b"\r\n")
    assert found[0] == b"SIP/2.0 200 OK"
    assert b"To: <sip:bob@example.com>;tag=core" in found
    assert b"CSeq: 1 MESSAGE" in found
    assert not [line for line in found if line.startswith((b"Contact", b"Max"))]
    assert b"Contact: <sip:a@127.0.0.1>" in response(
        MESSAGE.replace(b"MESSAGE", b"REGISTER")
    )
    assert response(b"SIP/2.0 200 OK\r\nVia: x") == b""


def test_core_over_both_transports() -> None:
    """Datagrams and a stream in odd pieces get their answers."""
    with listening("bench.sipcore", SERVER_CPU) as core:
        port = core.port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(10)
            datagrams.sendto(MESSAGE + b"\r\n\r\nhello", ("127.0.0.1", port))
            assert datagrams.recv(4096).startswith(b"SIP/2.0 200 OK\r\nVia:")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
            one = MESSAGE + b"\r\nContent-Length: 5\r\n\r\nhello"
            stream.sendall(one + one[:-3])
            stream.sendall(one[-3:])
            data = b""
            while data.count(b"SIP/2.0 200 OK") < 2:
                data += stream.recv(4096)


def test_message_that_is_sent() -> None:
    """What goes out is a SendMessage whose number the generator fills in."""
    post = send_message("S1", 7, "hello").encode()
    head, _, body = post.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    [transaction] = decode(body).transactions
    assert transaction.id == SLOT
    assert isinstance(transaction.primitive, SendMessageRequest)


def test_table_and_file(tmp_path: Path) -> None:
    """A line shows its figure, its anchor and their ratio."""
    line = Line(
        id="P0",
        what="a thing",
        value=3000.0,
        unit="x/s",
        anchor="other",
        anchor_value=2000.0,
        goal=">= 1.5",
    )
    alone = Line(id="P9", what="no anchor", value=1.0, unit="s")
    text = table([line, alone])
    assert "3,000.0 x/s" in text and "other 2,000.0" in text and "1.50" in text
    save([line, alone], tmp_path / "results.json")
    saved = json.loads((tmp_path / "results.json").read_text())
    assert [item["ratio"] for item in saved["lines"]] == [1.5, None]
    assert saved["machine"]["cpus"] >= 1


def test_names() -> None:
    """The measures are found; one that there is not is named."""
    assert "p1" in command.measures()
    done = subprocess.run(
        [sys.executable, "-m", "bench", "nothing"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "nothing" in done.stdout and "p1" in done.stdout
