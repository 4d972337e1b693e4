"""The service on PostgreSQL, which stops and starts under it."""

from __future__ import annotations

from tests.live.programs import wait_until


def test_messages_are_stored_in_postgresql(postgres, gateway, handset, sip_user):
    service = gateway(store=postgres.url, subscribers=("carol", "bob"))
    bob = sip_user("bob", ("127.0.0.1", service.sip_port))
    assert bob.register().status == 200
    assert bob.message("sip:carol@im.example.test", "one").status == 202

    postgres.stop()
    # Nothing is promised that cannot be kept.
    refused = bob.message("sip:carol@im.example.test", "nowhere to keep it")
    assert refused.status in {480, 500, 503}
    postgres.start()

    def accepted() -> bool:
        return bob.message("sip:carol@im.example.test", "two").status == 202

    wait_until(accepted, "the store again")
    carol = handset(service, "carol")
    carol.open()
    assert [carol.receive().text("ContentData") for _ in range(2)] == ["one", "two"]
    assert carol.poll().body == b""
