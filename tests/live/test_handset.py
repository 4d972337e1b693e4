"""The outside handset by itself, against canned replies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.live.handset import Answer, Handset

_REPLY = (
    '<WV-CSP-Message xmlns="http://www.openmobilealliance.org/DTD/WV-CSP1.2"><Session>'
    "<SessionDescriptor><SessionType>{kind}</SessionType></SessionDescriptor>{content}"
    "<Poll>{poll}</Poll></Session></WV-CSP-Message>"
)


def transaction(mode: str, number: str, primitive: str) -> str:
    return (
        f"<Transaction><TransactionDescriptor><TransactionMode>{mode}</TransactionMode>"
        f"<TransactionID>{number}</TransactionID></TransactionDescriptor>"
        '<TransactionContent xmlns="http://www.openmobilealliance.org/DTD/WV-TRC1.2">'
        f"{primitive}</TransactionContent></Transaction>"
    )


def reply(*transactions: str, poll: str = "F") -> bytes:
    content = "".join(transactions)
    return _REPLY.format(kind="Outband", content=content, poll=poll).encode()


@contextmanager
def canned(*replies: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Serve these bodies in order; give the port and the list of what was posted."""
    posted: list[bytes] = []
    left = list(replies)

    class Canned(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            body = left.pop(0)
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.wv.csp.xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Canned) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port, posted
        finally:
            server.shutdown()
            serving.join()


def test_four_way_login_proves_the_password_without_sending_it():
    challenge = (
        "<Login-Response><Result><Code>401</Code></Result><Nonce>92387rhf</Nonce>"
        "<DigestSchema>MD5</DigestSchema></Login-Response>"
    )
    accepted = (
        "<Login-Response><Result><Code>200</Code></Result>"
        "<SessionID>s1001</SessionID></Login-Response>"
    )
    with canned(
        reply(transaction("Response", "1", challenge)),
        reply(transaction("Response", "2", accepted)),
    ) as (port, posted):
        with Handset(port, "wv:alice@example.org", "secret") as handset:
            assert handset.login_by_digest().code == "200"
            assert handset.session == "s1001"
    assert b"<DigestBytes>Z0dxyGY9piGi2UT1AUDonA==</DigestBytes>" in posted[1]
    assert b"secret" not in b"".join(posted)


def test_an_offer_that_rides_in_a_reply_is_not_lost():
    status = "<Status><Result><Code>200</Code></Result></Status>"
    offer = "<NewMessage><ContentData>hi &amp; bye</ContentData></NewMessage>"
    with canned(
        reply(
            transaction("Response", "1", status),
            transaction("Request", "77", offer),
            poll="T",
        ),
        b"",
    ) as (port, posted):
        with Handset(port, "wv:alice@example.org", "secret") as handset:
            handset.session = "s1001"
            assert handset.keep_alive().code == "200"
            assert handset.receive().text("ContentData") == "hi & bye"
    assert b"<TransactionID>77</TransactionID>" in posted[1]
    assert b"<SessionID>s1001</SessionID>" in posted[1]


def test_an_answer_that_is_no_csp_message_fails_the_test():
    with pytest.raises(AssertionError):
        Answer(b"<html/>")
    assert Answer(b"").transactions == []
    assert Answer(reply(poll="T")).poll
