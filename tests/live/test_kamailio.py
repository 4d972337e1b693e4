"""Messages between handsets and SIP users through a real SIP core, in both set-ups."""

from __future__ import annotations

import signal

import pytest

from tests.live.programs import wait_until

SIDES = [
    ("trusted", "udp"),
    ("trusted", "tcp"),
    ("terminal", "udp"),
    ("terminal", "tcp"),
]
on_each_side = pytest.mark.parametrize(("side", "transport"), SIDES)


@on_each_side
@pytest.mark.requirement("M-6.1.3.1-01", "M-6.1.3.1-05")
def test_a_handset_writes_to_a_sip_user(bridge, handset, sip_user, side, transport):
    gateway, core = bridge(side, transport=transport)
    bob = sip_user("bob", core.proxy)
    assert bob.register().status == 200
    carol = handset(gateway, "carol")
    carol.open()

    sent = carol.send("wv:bob@im.example.test", "h\u00e9llo <bob> & co")
    assert sent.code == "200"
    assert sent.text("MessageID")
    came = bob.expect()
    assert came.body.decode() == "h\u00e9llo <bob> & co"
    assert came.get("content-type").startswith("text/plain")
    assert "<sip:carol@im.example.test>" in came.get("p-asserted-identity")
    assert "sip:carol@im.example.test" in came.get("from")


@on_each_side
@pytest.mark.requirement("T-7.2-08", "M-7.1.3.1-02")
def test_a_sip_user_writes_to_a_handset(bridge, handset, sip_user, side, transport):
    gateway, core = bridge(side, transport=transport)
    bob = sip_user("bob", core.proxy)
    assert bob.register().status == 200
    carol = handset(gateway, "carol")
    carol.open()

    assert bob.message("sip:carol@im.example.test", "h\u00e9llo <carol>").status == 200
    came = carol.receive()
    assert came.text("ContentData") == "h\u00e9llo <carol>"
    assert list(came.texts("UserID")).count("wv:bob@im.example.test") == 1
    # Confirmed: nothing more to say, and the reply says so by its emptiness.
    assert carol.poll().body == b""


@on_each_side
@pytest.mark.requirement("M-7.3.1.4-01", "C-1-01", "M-7.2.2.6.1-01")
def test_a_message_waits_for_a_handset(bridge, handset, sip_user, side, transport):
    gateway, core = bridge(side, transport=transport)
    bob = sip_user("bob", core.proxy)
    assert bob.register().status == 200

    assert bob.message("sip:carol@im.example.test", "one").status == 202
    assert bob.message("sip:carol@im.example.test", "two").status == 202
    carol = handset(gateway, "carol")
    carol.open()
    assert [carol.receive().text("ContentData") for _ in range(2)] == ["one", "two"]
    assert carol.logout().code == "200"
    carol.open()
    assert carol.poll().body == b""


@on_each_side
def test_the_handset_learns_why_nothing_went(
    bridge, handset, sip_user, side, transport
):
    gateway, core = bridge(side, transport=transport)
    bob = sip_user("bob", core.proxy)
    bob.answer = lambda _: 603
    assert bob.register().status == 200
    carol = handset(gateway, "carol")
    carol.open()
    assert carol.send("wv:nobody@im.example.test", "anyone?").code == "531"
    # Known to the core and not registered there.
    assert carol.send("wv:alice@im.example.test", "alice?").code == "533"
    assert carol.send("wv:bob@im.example.test", "bob?").code == "538"
    assert bob.expect().body == b"bob?"


@on_each_side
def test_one_handset_writes_to_another(bridge, handset, side, transport):
    gateway, _ = bridge(side, transport=transport)
    carol, dave = handset(gateway, "carol"), handset(gateway, "dave")
    carol.open()
    dave.open()
    assert carol.send("wv:dave@im.example.test", "hello dave").code == "200"
    came = dave.receive()
    assert came.text("ContentData") == "hello dave"
    assert "wv:carol@im.example.test" in came.texts("UserID")


@on_each_side
def test_a_message_of_a_handset_waits_for_another(bridge, handset, side, transport):
    gateway, _ = bridge(side, transport=transport)
    carol, dave = handset(gateway, "carol"), handset(gateway, "dave")
    carol.open()
    assert carol.send("wv:dave@im.example.test", "later").code in {"200", "202"}
    dave.open()
    assert dave.receive().text("ContentData") == "later"
    assert dave.poll().body == b""


@pytest.mark.parametrize("side", ["trusted", "terminal"])
@pytest.mark.requirement("M-6.1.1.2-02", "M-6.1.1.3-03", "M-6.1.1.1-02")
def test_a_handset_is_registered_at_the_core_while_it_is_logged_in(
    bridge, handset, stage, side
):
    gateway, core = bridge(side)
    assert core.contacts("carol") == []
    carol = handset(gateway, "carol")
    carol.open()
    core.wait_for(lambda: core.contacts("carol") != [], "the registration")
    (contact,) = core.contacts("carol")
    assert f":{gateway.sip_port}" in contact
    assert carol.logout().code == "200"
    core.wait_for(lambda: core.contacts("carol") == [], "the de-registration")


@on_each_side
def test_the_core_stops_and_starts_in_the_middle(
    bridge, handset, sip_user, side, transport
):
    gateway, core = bridge(side, transport=transport, hold=1)
    bob = sip_user("bob", core.proxy)
    assert bob.register().status == 200
    carol = handset(gateway, "carol")
    carol.open()
    assert carol.send("wv:bob@im.example.test", "before").code == "200"

    core.stop()
    meanwhile = carol.send("wv:bob@im.example.test", "meanwhile", report=True)
    # Taken over, to go later; or refused, where the core is known to be down.
    assert meanwhile.code == {"udp": "200", "tcp": "503"}[transport]
    core.start()
    assert bob.register().status == 200
    if transport == "udp":
        # One end and one only: the core may know bob already when it comes, or not.
        report = carol.offered("DeliveryReport-Request")
        carol.succeed(report)
        arrived = report.code == "200"
        assert report.text("MessageID") == meanwhile.text("MessageID")
    else:
        arrived = False
    wait_until(
        lambda: carol.send("wv:bob@im.example.test", "after").code == "200", "the core"
    )
    came: list[bytes] = []
    while not came or came[-1] != b"after":
        came.append(bob.expect().body)
    assert came.count(b"before") == 1
    assert came.count(b"meanwhile") == arrived
    assert bob.message("sip:carol@im.example.test", "back").status == 200
    assert carol.receive().text("ContentData") == "back"


def test_a_slow_core_gets_the_message_once(bridge, handset, sip_user):
    # The hold time passes: the message is taken over, and goes when the core wakes.
    gateway, core = bridge("trusted", hold=1)
    bob = sip_user("bob", core.proxy)
    assert bob.register().status == 200
    carol = handset(gateway, "carol")
    carol.open()

    core.signal(signal.SIGSTOP)
    assert carol.send("wv:bob@im.example.test", "patience").code == "200"
    core.signal(signal.SIGCONT)
    assert bob.expect().body == b"patience"
    assert carol.send("wv:bob@im.example.test", "and then").code == "200"
    assert bob.expect().body == b"and then"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_accepted_outlives_the_service(bridge, handset, sip_user, how):
    gateway, core = bridge("trusted")
    bob = sip_user("bob", core.proxy)
    assert bob.register().status == 200
    assert bob.message("sip:carol@im.example.test", "still here").status == 202
    gateway.stop(how)
    gateway.start()
    carol = handset(gateway, "carol")
    carol.open()
    assert carol.receive().text("ContentData") == "still here"
    assert carol.poll().body == b""


def test_tshark_finds_nothing_malformed(bridge, handset, sip_user, capture):
    gateway, core = bridge("terminal")
    watching = capture([gateway.sip_port, core.sip_port, core.isc_port])
    bob = sip_user("bob", core.proxy)
    assert bob.register().status == 200
    carol = handset(gateway, "carol")
    carol.open()
    assert carol.send("wv:bob@im.example.test", "h\u00e9llo bob").code == "200"
    assert carol.send("wv:nobody@im.example.test", "anyone?").code == "531"
    assert bob.message("sip:carol@im.example.test", "h\u00e9llo carol").status == 200
    carol.receive()
    carol.logout()
    core.wait_for(lambda: core.contacts("carol") == [], "the de-registration")
    watching.stop()
    assert watching.malformed() == []
    ours = watching.read(
        *("-Y", f"udp.srcport == {gateway.sip_port}"),
        *("-T", "fields", "-e", "sip.Method", "-e", "sip.Status-Code"),
    ).split()
    assert {"REGISTER", "MESSAGE", "200"} <= set(ours)
