"""One HTTP connection over a string transport: order, time, and the end."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import Malformed, TooLarge, Unreachable, UnsupportedMedia
from gateway.igateway import Reply
from tests.plugins.doubles import XML, Bench, answers, post, statuses


class ReplyTests(SynchronousTestCase):
    """What is answered."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.connection, self.transport = self.bench.connect()

    def test_reply(self) -> None:
        """The SAP's body goes back with its type, its length and the date."""
        self.connection.dataReceived(post(b"<a/>"))
        [answer] = answers(self.transport.value())
        self.assertEqual((answer.status, answer.body), (200, b"<a/>"))
        self.assertEqual(
            answer.headers,
            {
                "content-type": XML,
                "content-length": "4",
                "date": "Thu, 01 Jan 1970 00:00:00 GMT",
            },
        )
        [(content_type, body, peer)] = self.bench.sap.exchanged
        self.assertEqual((content_type, body), (XML, b"<a/>"))
        self.assertEqual(
            (peer.address, peer.port, peer.bearer), ("192.0.2.1", 4711, "HTTP")
        )
        self.assertEqual((peer.secure, peer.msisdn), (False, None))

    def test_the_date_goes_on(self) -> None:
        """The date is made once a second, by the sweep."""
        self.bench.advance(61)
        connection, transport = self.bench.connect()
        connection.dataReceived(post())
        [answer] = answers(transport.value())
        self.assertEqual(answer.headers["date"], "Thu, 01 Jan 1970 00:01:01 GMT")

    def test_nothing_to_say(self) -> None:
        """An empty reply is 200 without content and without a type."""
        self.bench.sap.outcome = Reply()
        self.connection.dataReceived(post())
        [answer] = answers(self.transport.value())
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.headers["content-length"], "0")
        self.assertNotIn("content-type", answer.headers)

    def test_refused_by_the_sap(self) -> None:
        """Each of the SAP's errors has its status, and the connection goes on."""
        for error, status in (
            (Malformed("no XML"), 400),
            (UnsupportedMedia("text/html"), 415),
            (TooLarge("too deep"), 413),
            (Unreachable("the store is gone"), 503),
        ):
            self.bench.sap.outcome = error
            self.connection.dataReceived(post())
            self.assertEqual(statuses(self.transport), [status])
        self.bench.sap.outcome = None
        self.connection.dataReceived(post())
        self.assertEqual(statuses(self.transport), [200])

    def test_our_own_defect(self) -> None:
        """Any other error is logged with its traceback and answered 500."""
        self.bench.sap.outcome = RuntimeError("a defect")
        self.connection.dataReceived(post() + post())
        self.assertEqual(statuses(self.transport), [500, 500])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertFalse(self.transport.disconnecting)

    def test_our_own_defect_in_reading(self) -> None:
        """An error of ours before there is a request ends the connection with 500."""
        bench = Bench()
        bench.front.route = Mock(side_effect=ZeroDivisionError)  # type: ignore[method-assign]
        connection, transport = bench.connect()
        connection.dataReceived(post())
        self.assertEqual(statuses(transport), [500])
        self.assertTrue(transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_head_has_no_body(self) -> None:
        """RFC 9110 9.3.2: the length is given, the body is not sent."""
        self.connection.dataReceived(b"HEAD /csp HTTP/1.1\r\nHost: a\r\n\r\n")
        [answer] = answers(self.transport.value(), heads_only=True)
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))

    def test_http_1_0(self) -> None:
        """A 1.0 connection ends after the reply, unless its client asked otherwise."""
        head = b"POST /csp HTTP/1.0\r\nContent-Length: 1\r\n"
        self.connection.dataReceived(head + b"Connection: keep-alive\r\n\r\na")
        [answer] = answers(self.transport.value())
        self.assertEqual(answer.headers["connection"], "keep-alive")
        self.assertFalse(self.transport.disconnecting)
        self.transport.clear()
        self.connection.dataReceived(head + b"\r\na")
        [answer] = answers(self.transport.value())
        self.assertEqual(answer.headers["connection"], "close")
        self.assertTrue(self.transport.disconnecting)

    def test_connection_close(self) -> None:
        """The client's wish to close is said back and followed."""
        self.connection.dataReceived(post(headers=b"Connection: close\r\n"))
        [answer] = answers(self.transport.value())
        self.assertEqual(answer.headers["connection"], "close")
        self.assertTrue(self.transport.disconnecting)

    def test_continue(self) -> None:
        """100 comes when the request before it has been answered, and only once."""
        self.bench.sap.hold = True
        head = b"POST /csp HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        self.connection.dataReceived(post() + head + b"Content-Length: 2\r\n\r\n")
        self.assertEqual(statuses(self.transport), [])
        self.bench.sap.held[0].callback(Reply(XML, b"1"))
        self.assertEqual(statuses(self.transport), [200, 100])
        self.connection.dataReceived(b"a")
        self.assertEqual(statuses(self.transport), [])
        self.connection.dataReceived(b"b")
        self.bench.sap.held[1].callback(Reply(XML, b"2"))
        self.assertEqual(statuses(self.transport), [200])

    def test_no_continue_for_what_is_too_large(self) -> None:
        """The final answer comes instead, and the connection ends."""
        head = b"POST /csp HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        self.connection.dataReceived(head + b"Content-Length: 99999999\r\n\r\n")
        self.assertEqual(statuses(self.transport), [413])
        self.assertTrue(self.transport.disconnecting)


class OrderTests(SynchronousTestCase):
    """Pipelining: in order, bounded, and one at a time."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.sap.hold = True
        self.connection, self.transport = self.bench.connect()

    def test_one_after_the_other(self) -> None:
        """The next request is begun when the one before has been answered."""
        self.connection.dataReceived(post(b"1") + post(b"2") + post(b"3"))
        self.assertEqual(self.bench.sap.bodies, [b"1"])
        for number, waiting in enumerate(self.bench.sap.held, 1):
            waiting.callback(Reply(XML, b"%d" % number))
        self.assertEqual(self.bench.sap.bodies, [b"1", b"2", b"3"])
        found = [answer.body for answer in answers(self.transport.value())]
        self.assertEqual(found, [b"1", b"2", b"3"])

    def test_refusals_keep_their_place(self) -> None:
        """A 405, and the 400 that ends the stream, wait for what came before."""
        self.connection.dataReceived(
            post() + b"GET /csp HTTP/1.1\r\nHost: a\r\n\r\n" + b"garbage\r\n\r\n"
        )
        self.assertEqual(statuses(self.transport), [])
        self.bench.sap.held[0].callback(Reply(XML, b"1"))
        self.assertEqual(statuses(self.transport), [200, 405, 400])
        self.assertTrue(self.transport.disconnecting)

    def test_bounded(self) -> None:
        """No more is read from a connection on which requests pile up."""
        for _ in range(9):
            self.connection.dataReceived(post())
        self.assertEqual(self.transport.producerState, "paused")
        for number in range(8):
            self.bench.sap.held[number].callback(Reply(XML, b""))
        self.assertEqual(self.transport.producerState, "producing")
        self.bench.sap.held[8].callback(Reply(XML, b""))
        self.assertEqual(statuses(self.transport), [200] * 9)

    def test_the_end_of_a_paused_stream(self) -> None:
        """Last words make it read again: what still comes must not cause a reset."""
        self.connection.dataReceived(post())
        self.connection.dataReceived(post() * 8 + b"garbage\r\n\r\n")
        self.assertEqual(self.transport.producerState, "paused")
        self.bench.sap.hold = False
        self.bench.sap.held[0].callback(Reply(XML, b""))
        self.assertEqual(statuses(self.transport), [200] * 9 + [400])
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_burst(self) -> None:
        """A burst answered at once needs no recursion."""
        self.bench.sap.hold = False
        self.connection.dataReceived(post(b"x") * 5000)
        self.assertEqual(statuses(self.transport), [200] * 5000)

    def test_a_client_that_reads_nothing(self) -> None:
        """Replies that find no reader stop the serving, and then the connection."""
        self.bench.sap.hold = False
        self.connection.pauseProducing()
        self.connection.dataReceived(post() * 20)
        self.assertEqual(self.bench.sap.bodies, [])
        self.connection.resumeProducing()
        self.assertEqual(statuses(self.transport), [200] * 20)
        self.connection.pauseProducing()
        self.connection.dataReceived(b"POST")
        self.bench.advance(29)
        self.assertFalse(self.transport.disconnected)
        self.bench.advance(2)
        self.assertTrue(self.transport.disconnected)


class LostTests(SynchronousTestCase):
    """A connection that goes away cancels nothing."""

    def test_unwritten(self) -> None:
        """The SAP learns that its reply could not be written; nothing else begins."""
        bench = Bench()
        bench.sap.hold = True
        connection, transport = bench.connect()
        connection.dataReceived(post(b"1") + post(b"2"))
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(bench.front.connections, set())
        reply = Reply(XML, b"late")
        bench.sap.held[0].callback(reply)
        self.assertEqual(bench.sap.lost, [reply])
        self.assertEqual(bench.sap.bodies, [b"1"])
        self.assertEqual(transport.value(), b"")

    def test_an_error_that_nobody_hears(self) -> None:
        """A refusal of a lost connection is dropped in silence."""
        bench = Bench()
        bench.sap.hold = True
        connection, transport = bench.connect()
        connection.dataReceived(post())
        connection.connectionLost(Failure(ConnectionDone()))
        bench.sap.held[0].errback(Malformed("late"))
        self.assertEqual((bench.sap.lost, transport.value()), ([], b""))


class TimeTests(SynchronousTestCase):
    """Slow senders cost bounded time; one sweep a second serves all connections."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.connection, self.transport = self.bench.connect()

    def test_silence_from_the_start(self) -> None:
        """Who connects and says nothing is dropped without a word."""
        self.bench.advance(9)
        self.assertFalse(self.transport.disconnected)
        self.bench.advance(2)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.transport.value(), b"")

    def test_slow_headers(self) -> None:
        """A header a second does not prolong the time for all of them."""
        self.connection.dataReceived(b"POST /csp HTTP/1.1\r\n")
        for _ in range(10):
            self.connection.dataReceived(b"X: y\r\n")
            self.bench.advance(1)
        self.assertEqual(statuses(self.transport), [408])
        self.assertTrue(self.transport.disconnecting)

    def test_slow_body(self) -> None:
        """Neither does a byte a second."""
        self.connection.dataReceived(post(b"")[:-5] + b"100\r\n\r\n")
        for _ in range(30):
            self.connection.dataReceived(b"a")
            self.bench.advance(1)
        self.assertEqual(statuses(self.transport), [408])
        self.assertEqual(self.bench.sap.bodies, [])

    def test_idle(self) -> None:
        """Between requests a connection may rest for idle_timeout."""
        self.connection.dataReceived(post())
        self.bench.advance(119)
        self.connection.dataReceived(post())
        self.bench.advance(119)
        self.assertFalse(self.transport.disconnected)
        self.bench.advance(2)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(statuses(self.transport), [200, 200])

    def test_serving_has_no_limit_here(self) -> None:
        """How long a reply may take is the SAP's matter; then idling begins."""
        self.bench.sap.hold = True
        self.connection.dataReceived(post())
        self.bench.advance(1000)
        self.bench.sap.held[0].callback(Reply(XML, b""))
        self.assertEqual(statuses(self.transport), [200])
        self.bench.advance(119)
        self.assertFalse(self.transport.disconnected)

    def test_lingering_ends(self) -> None:
        """After last words the client's bytes are dropped, and soon the connection."""
        self.connection.dataReceived(b"garbage\r\n\r\n")
        self.connection.dataReceived(post() * 1000)
        self.assertEqual(statuses(self.transport), [400])
        self.bench.advance(3)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.bench.sap.bodies, [])

    def test_handshake(self) -> None:
        """The first request has its time from the end of the TLS handshake on."""
        self.bench.advance(9)
        self.connection.handshakeCompleted()
        self.bench.advance(9)
        self.assertFalse(self.transport.disconnected)
        self.bench.advance(2)
        self.assertTrue(self.transport.disconnected)


HOSTILE = (
    b"\x00" * 1000,
    b"POST /csp HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nPOST /csp HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\n" * 1000,
    b"POST /csp HTTP/1.1\r\n" + b"A: b\r\n" * 5000,
    b"\r\n" * 20000,
    b"POST /csp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\na\r\n" * 5000,
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
)


@pytest.mark.parametrize("data", HOSTILE)
@pytest.mark.parametrize("size", [1, 7, 65536])
def test_hostile_bytes(data: bytes, size: int) -> None:
    """No bytes in any pieces make it fail, hold much, or reach the SAP."""
    bench = Bench(max_body=1024)
    connection, transport = bench.connect()
    with capturedLogs() as events:
        for start in range(0, len(data), size):
            connection.dataReceived(data[start : start + size])
    assert not [event for event in events if "log_failure" in event]
    assert bench.sap.bodies == []
    assert len(transport.value()) < 1000
    bench.advance(31)
    assert transport.disconnecting or transport.disconnected
