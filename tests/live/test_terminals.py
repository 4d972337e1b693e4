"""SIP terminals of others as the correspondents of a handset."""

from __future__ import annotations

from tests.live.ports import free_ports


def test_sipp_sends_to_a_handset(bridge, handset, sipp):
    gateway, core = bridge("trusted")
    carol = handset(gateway, "carol")
    carol.open()
    sender = sipp(
        "message_uac",
        f"127.0.0.1:{core.sip_port}",
        *("-m", "5", "-s", "carol", "-au", "alice", "-ap", "alice"),
        *("-key", "domain", core.domain, "-timeout", "20"),
    )
    assert sender.finish() == 0, sender.output()
    texts = {carol.receive().text("ContentData") for _ in range(5)}
    assert texts == {f"text {n}" for n in range(1, 6)}


def test_sipp_takes_from_a_handset(bridge, handset, sip_user, sipp):
    gateway, core = bridge("terminal")
    (port,) = free_ports()
    taker = sipp("message_uas", "-p", str(port), "-m", "3", "-timeout", "30")
    bob = sip_user("bob", core.proxy)
    assert bob.register(contact=f"<sip:bob@127.0.0.1:{port}>").status == 200
    carol = handset(gateway, "carol")
    carol.open()
    for number in range(3):
        assert carol.send("wv:bob@im.example.test", f"text {number}").code == "200"
    assert taker.finish() == 0, taker.output()


def test_baresip_and_a_handset_talk(bridge, handset, baresip):
    gateway, core = bridge("trusted")
    carol = handset(gateway, "carol")
    carol.open()
    bob = baresip("bob", "sip:carol@im.example.test", core)
    assert carol.send("wv:bob@im.example.test", "hello baresip").code == "200"
    bob.wait_for(lambda: "hello baresip" in bob.output(), "the text")
    bob.message("hello from baresip")
    assert carol.receive().text("ContentData") == "hello from baresip"
