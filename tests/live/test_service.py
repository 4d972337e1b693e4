"""The service by itself, with the embedded core: what every version of CSP can do."""

from __future__ import annotations

import http.client
import signal
import subprocess

import pytest

from tests.live.ports import free_ports

VERSIONS = ["1.1", "1.2", "1.3"]
in_each_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def service(gateway):
    """The service with the handsets and a SIP user in its own directory."""
    return gateway(subscribers=("carol", "dave", "bob"))


@pytest.fixture
def bob(service, sip_user):
    """A SIP user at the embedded core."""
    user = sip_user("bob", ("127.0.0.1", service.sip_port))
    assert user.register().status == 200
    return user


@in_each_version
@pytest.mark.requirement("T-4-01", "T-7.1-01")
def test_a_handset_and_a_sip_user_talk(service, bob, handset, version):
    carol = handset(service, "carol", version=version)
    carol.open()
    assert carol.send("wv:bob@im.example.test", "h\u00e9llo bob").code == "200"
    assert bob.expect().body.decode() == "h\u00e9llo bob"
    assert bob.message("sip:carol@im.example.test", "h\u00e9llo carol").status == 200
    assert carol.receive().text("ContentData") == "h\u00e9llo carol"
    assert carol.keep_alive().code == "200"
    assert carol.logout().code == "200"


@in_each_version
@pytest.mark.parametrize("schema", ["MD5", "SHA"])
def test_a_handset_proves_its_password(service, handset, version, schema):
    carol = handset(service, "carol", version=version)
    assert carol.login_by_digest(schema).code == "200"
    assert carol.session
    assert carol.logout().code == "200"
    carol.password = "wrong"
    assert carol.login_by_digest(schema).code == "409"
    assert carol.login().code == "409"
    assert not carol.session


def test_an_unknown_user_does_not_get_in(service, handset):
    carol = handset(service, "carol")
    carol.user = "wv:nobody@im.example.test"
    assert carol.login().code in {"409", "531"}
    carol.session = "no-such-session-0000000"
    assert carol.keep_alive().code == "604"


@in_each_version
@pytest.mark.requirement("T-7.2-11")
def test_a_handset_fetches_what_it_was_told_of(service, bob, handset, version):
    carol = handset(service, "carol", version=version)
    carol.open(delivery="N")
    assert bob.message("sip:carol@im.example.test", "fetch me").status == 200
    notified = carol.offered("MessageNotification")
    message = notified.text("MessageID")
    assert not notified.has("ContentData")
    assert carol.succeed(notified).body == b""
    fetched = carol.request(
        f"<GetMessage-Request><MessageID>{message}</MessageID></GetMessage-Request>"
    )
    assert fetched.text("ContentData") == "fetch me"
    carol.confirm(fetched)
    assert carol.poll().body == b""


@pytest.mark.requirement("T-7.2-05", "T-7.2-06")
def test_one_transaction_rides_in_a_reply_and_poll_tells_of_more(service, bob, handset):
    carol = handset(service, "carol")
    carol.open()
    for text in ("one", "two", "three"):
        assert bob.message("sip:carol@im.example.test", text).status == 200
    flags, texts = [], []
    answer = carol.poll()
    while answer.transactions:
        flags.append(answer.poll)
        texts.append(answer.only.text("ContentData"))
        answer = carol.confirm(answer.only)
        if not answer.transactions:
            answer = carol.poll()
    assert texts == ["one", "two", "three"]
    assert flags[-1] is False
    assert flags[0] is True


@pytest.mark.requirement("T-7.2-01", "T-7.6-01", "T-7.6-04")
def test_only_post_is_spoken(service):
    connection = http.client.HTTPConnection("127.0.0.1", service.http_port, timeout=30)
    for method in ("GET", "PUT", "DELETE"):
        connection.request(method, "/csp")
        response = connection.getresponse()
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert response.read()
    connection.close()


@pytest.mark.requirement("T-7.6-05")
@pytest.mark.parametrize("body", [b"<WV-CSP-Message", b"no xml", b"\0\xff"])
def test_a_body_that_is_no_xml_is_refused(service, handset, body):
    carol = handset(service, "carol")
    response, _ = carol.post(body)
    assert response.status == 400
    response, _ = carol.post(body, "text/plain")
    assert response.status == 415
    carol.open()
    assert carol.keep_alive().code == "200"


@pytest.mark.requirement("T-6-01", "T-7.1-02")
def test_a_session_outlives_its_connections_and_the_service(service, bob, handset):
    carol = handset(service, "carol")
    carol.open()
    again = handset(service, "carol")
    again.session = carol.session
    assert again.keep_alive().code == "200"
    assert service.stop() == 0
    service.start()
    assert again.keep_alive().code == "200"
    assert bob.register().status == 200
    assert bob.message("sip:carol@im.example.test", "still there?").status == 200
    assert again.receive().text("ContentData") == "still there?"


def test_a_subscriber_added_while_it_runs_can_log_in(service, handset):
    service.subscribe("erin")
    erin = handset(service, "erin")
    assert erin.login().code == "200"


def test_a_sip_user_without_the_password_is_refused(service, bob, handset, sip_user):
    mallory = sip_user("bob", ("127.0.0.1", service.sip_port), password="wrong")
    assert mallory.register().status in {401, 403}
    carol = handset(service, "carol")
    carol.open()
    refused = mallory.message("sip:carol@im.example.test", "it is me, bob")
    assert refused.status in {401, 403, 407}
    assert carol.poll().body == b""


def test_a_faulty_configuration_never_starts(gateway, tmp_path):
    service = gateway()
    assert service.stop() == 0
    text = service.config.read_text()
    service.config.write_text(
        text.replace("hold", "holt") + "[offline]\nmax_age = -1\n"
    )
    already = len(service.output())
    with pytest.raises(RuntimeError, match="ended"):
        service.start()
    assert service.finish() == 1
    said = service.output()[already:].splitlines()
    assert len(said) == 2
    assert all(line.startswith(str(service.config)) for line in said)
    assert any("gateway.holt" in line and "hold" in line for line in said)
    assert any("offline.max_age" in line for line in said)


@pytest.mark.parametrize("key", ["sip.listen", "admin.endpoint", "binding[1].endpoint"])
def test_a_port_that_is_taken_is_named_in_one_line(service, key, tmp_path):
    sip, http_port = free_ports(2)
    taken = service.sip_port
    ports = {
        "sip.listen": (taken, sip, http_port),
        "admin.endpoint": (sip, taken, http_port),
        "binding[1].endpoint": (sip, http_port, taken),
    }
    second = tmp_path / "second.toml"
    second.write_text(
        """
        [gateway]
        domain = "example.com"
        state_dir = "second"
        [store]
        url = "sqlite:///second/gateway.db"
        [sip]
        listen = "tcp:{}:interface=127.0.0.1"
        core = "embedded"
        [admin]
        endpoint = "tcp:{}:interface=127.0.0.1"
        [[binding]]
        type = "csp-http"
        endpoint = "tcp:{}:interface=127.0.0.1"
        """.format(*ports[key])
    )
    command = [*service.command[:-1], str(second)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert said.count(f"{second}: {key}: cannot listen on tcp:{taken}:") == 1
    assert "Traceback" not in said


def test_a_reload_keeps_the_sessions_and_the_old_on_a_fault(service, handset):
    carol = handset(service, "carol")
    carol.open()
    text = service.config.read_text()

    def reload(more: str, answer: str) -> None:
        service.config.write_text(text + more)
        already = len(service.output())
        service.signal(signal.SIGHUP)
        service.wait_for(lambda: answer in service.output()[already:], answer)

    reload("[log]\nlevel = 'debug'\n", "reloaded: log.level")
    reload("[log]\nlevel = 'loud'\n", "not reloaded")
    assert "log.level" in service.output().rpartition("not reloaded")[2]
    reload("[offline]\nmax_size = 10\n", "reloaded: log.level, offline.max_size")
    assert carol.send("dave", "more than ten octets").code == "432"
    assert carol.keep_alive().code == "200"
