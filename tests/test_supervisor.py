"""The notification socket of systemd, as a supervisor sees it."""

import socket

from gateway.supervisor import notify


def test_states_reach_the_supervisor(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify("READY=1", "STATUS=serves example.com")
        assert supervisor.recv(4096) == b"READY=1\nSTATUS=serves example.com"


def test_an_abstract_socket_is_meant_by_an_at_sign(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(b"\0imps-gateway-test")
        monkeypatch.setenv("NOTIFY_SOCKET", "@imps-gateway-test")
        assert notify("STOPPING=1")
        assert supervisor.recv(4096) == b"STOPPING=1"


def test_without_a_supervisor_nothing_is_sent(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify("READY=1")
