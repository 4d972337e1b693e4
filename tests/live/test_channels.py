"""The data channel as a whole: who opens it, what rides in it, what it may become."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from tests.live.handset import Handset
from tests.live.ports import free_ports
from tests.plugins.certificates import write_certificate


@pytest.fixture
def service(gateway):
    """The service with a handset and a SIP user in its own directory."""
    return gateway(subscribers=("carol", "bob"))


@pytest.fixture
def bob(service, sip_user):
    """A SIP user at the embedded core."""
    user = sip_user("bob", ("127.0.0.1", service.sip_port))
    assert user.register().status == 200
    return user


@pytest.mark.requirement("T-5-01")
@pytest.mark.parametrize("version", ["1.1", "1.2", "1.3"])
def test_what_waits_rides_in_the_reply_to_any_request(service, bob, handset, version):
    carol = handset(service, "carol", version=version)
    carol.open()
    assert bob.message("sip:carol@im.example.test", "on board?").status == 200
    number = "100"
    answer = carol.exchange("<KeepAlive-Request/>", "Request", number)
    (own,) = (t for t in answer.transactions if t.mode == "Response")
    assert (own.id, own.name, own.code) == (number, "KeepAlive-Response", "200")
    ridden = [t for t in answer.transactions if t.mode == "Request"]
    assert ridden or answer.poll
    assert carol.receive().text("ContentData") == "on board?"


@pytest.mark.requirement("T-7.1-03")
def test_only_clients_open_connections(service, bob, handset):
    carol = handset(service, "carol")
    carol.open()
    carol.disconnect()
    assert bob.message("sip:carol@im.example.test", "who calls?").status == 200
    assert carol.receive().text("ContentData") == "who calls?"
    found = _local_ports(service.pid)
    assert service.http_port in found
    assert found <= {service.http_port, service.sip_port}


@pytest.mark.requirement("T-6-02")
def test_a_session_goes_on_over_https(service, bob, handset, tmp_path):
    carol = handset(service, "carol")
    carol.open()
    assert service.stop() == 0
    key, certificate = write_certificate(tmp_path, "gateway.example.com")
    (port,) = free_ports(1)
    files = f"privateKey={key}:certKey={certificate}"
    with service.config.open("a", encoding="utf-8") as file:
        file.write(
            f"""
            [[binding]]
            type = "csp-http"
            endpoint = "ssl:{port}:interface=127.0.0.1:{files}"
            """
        )
    service.start()
    trust = ssl.create_default_context(cafile=certificate)
    trust.check_hostname = False
    secure = Handset(port, carol.user, carol.password, tls=trust)
    secure.session = carol.session
    with secure:
        assert bob.register().status == 200
        assert bob.message("sip:carol@im.example.test", "safe?").status == 200
        assert secure.receive().text("ContentData") == "safe?"
        assert secure.send("wv:bob@im.example.test", "safe").code == "200"
        assert bob.expect().body.decode() == "safe"
    assert carol.keep_alive().code == "200"


def _local_ports(pid: int) -> set[int]:
    """Give the local port of each TCP socket of a process, listening ones too."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    rows = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    fields = (row.split() for row in rows)
    return {int(f[1].rpartition(":")[2], 16) for f in fields if f[9] in sockets}
