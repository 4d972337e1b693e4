"""The real peers by themselves: what the tests of the gateway take for granted."""

from __future__ import annotations

import psycopg
import pytest

from tests.components.tshark.mkpcap import write_pcap
from tests.live.programs import Capture
from tests.live.sipuser import Message


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_two_terminals_talk_through_the_core(kamailio, sip_user, transport):
    core = kamailio()
    alice = sip_user("alice", core.proxy)
    bob = sip_user("bob", core.proxy, transport=transport)
    assert alice.register(authenticate=False).status == 401
    assert alice.register().status == 200
    assert bob.register().status == 200
    assert [str(bob.port) in contact for contact in core.contacts("bob")] == [True]
    assert core.contacts("carol") == []

    assert alice.message(bob.aor, "hello bob").status == 200
    came = bob.expect()
    assert came.body == b"hello bob"
    assert came.get("p-asserted-identity") == f"<{alice.aor}>"

    assert bob.message(alice.aor, "h\u00e9llo alice").status == 200
    assert alice.expect().body.decode() == "h\u00e9llo alice"
    assert alice.message("sip:nobody@im.example.test", "hm").status == 404
    assert alice.message("sip:carol@im.example.test", "hm").status == 480


def test_the_core_stops_and_starts_again_on_its_ports(kamailio, sip_user):
    core = kamailio()
    alice = sip_user("alice", core.proxy)
    assert alice.register().status == 200
    core.stop()
    with pytest.raises(TimeoutError):
        alice.request("OPTIONS", f"sip:{core.domain}", timeout=1)
    core.start()
    # Its registrations were in memory only.
    assert alice.message(alice.aor, "me?").status == 480
    assert alice.register().status == 200
    assert alice.message(alice.aor, "me!").status == 200
    assert alice.expect().body == b"me!"


def test_the_core_sends_service_users_to_the_application_server(kamailio, sip_user):
    # A terminal without a proxy of its own plays the application server.
    server = sip_user("server", ("127.0.0.1", 9))
    core = kamailio(as_uri=f"sip:127.0.0.1:{server.port};transport=udp", psi="^wv-")
    alice = sip_user("alice", core.proxy)
    assert alice.message("sip:wv-anyone@im.example.test", "hello").status == 200
    assert server.expect().body == b"hello"


def test_a_refusing_terminal_is_heard_by_the_sender(kamailio, sip_user):
    core = kamailio()
    alice, bob = sip_user("alice", core.proxy), sip_user("bob", core.proxy)
    bob.answer = lambda _: 486
    assert bob.register().status == 200
    assert alice.message(bob.aor, "hello").status == 486


def test_sipp_sends_and_takes_messages(kamailio, sip_user, sipp):
    core = kamailio()
    bob = sip_user("bob", core.proxy)
    assert bob.register().status == 200
    sender = sipp(
        "message_uac",
        f"127.0.0.1:{core.sip_port}",
        *("-m", "3", "-s", "bob", "-au", "alice", "-ap", "alice"),
        *("-key", "domain", core.domain, "-timeout", "20"),
    )
    assert sender.finish() == 0, sender.output()
    assert {bob.expect().body for _ in range(3)} == {b"text 1", b"text 2", b"text 3"}


def test_baresip_sends_and_takes_messages(kamailio, sip_user, baresip):
    core = kamailio()
    alice = sip_user("alice", core.proxy)
    assert alice.register().status == 200
    bob = baresip("bob", alice.aor, core)
    assert alice.message("sip:bob@im.example.test", "hello baresip").status == 200
    bob.wait_for(lambda: "hello baresip" in bob.output(), "the text")
    bob.message("hello from baresip")
    assert alice.expect().body == b"hello from baresip"


def test_a_capture_of_real_terminals_has_nothing_malformed(kamailio, sip_user, capture):
    core = kamailio()
    watching = capture([core.sip_port])
    alice = sip_user("alice", core.proxy)
    assert alice.register().status == 200
    watching.stop()
    assert watching.malformed() == []
    methods = watching.read("-T", "fields", "-e", "sip.Method").split()
    assert methods.count("REGISTER") == 2


REQUEST = (
    b"MESSAGE sip:bob@im.example.test SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:5999;branch=z9hG4bKx\r\n"
    b"From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: 1\r\n"
    b"CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
)


@pytest.mark.component("tshark")
def test_tshark_tells_what_is_malformed(tmp_path):
    judged = Capture(tmp_path, [5070])
    bad = [
        REQUEST.replace(b"Length: 0", b"Length: x"),
        REQUEST.replace(b"Call-ID:", b"Call-ID"),
        REQUEST[:-2],
        REQUEST.replace(b":5999", b":599999"),
        b"hello world",
    ]
    write_pcap(judged.file, [("udp", 5999, 5070, REQUEST)])
    assert judged.malformed() == []
    write_pcap(judged.file, [("udp", 5999, 5070, data) for data in [REQUEST, *bad]])
    assert len(judged.malformed()) == len(bad)


def test_the_database_keeps_its_rows_over_a_restart(postgres):
    with psycopg.connect(postgres.url) as connection:
        connection.execute("create table kept (text text)")
        connection.execute("insert into kept values ('hello')")
    postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.url)
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("select text from kept").fetchall() == [("hello",)]


def test_the_terminal_unfolds_headers():
    message = Message(b"SIP/2.0 200 OK\r\nSubject: a\r\n b\r\nVIA: x\r\n\r\nbody")
    assert (message.status, message.get("subject"), message.all("via")) == (
        200,
        "a b",
        ["x"],
    )
    assert message.body == b"body"
