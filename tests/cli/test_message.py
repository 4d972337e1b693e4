"""``imps-gateway message show``, as an operator types it."""

from __future__ import annotations

import pytest

from gateway import cli
from gateway.cli._store import opened, resolve
from gateway.store import HistoryEntry
from tests.store.doubles import message

NOON = 1_795_262_400_000_000


@pytest.fixture
def show(tmp_path, capsys):
    """Give a command on a store that holds two messages and a history."""
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\ndomain = "example.com"\n')
    with opened(file) as (store, _):
        for number in (1, 2):
            one = message(number, accepted_at=NOON + number, expires_at=NOON + 10**9)
            resolve(store.add_message(one))
        resolve(store.finish_message("m1", "failed", "the core\x1b[31m refused"))
        alice = ("sip:alice@example.com",)
        entries = [
            HistoryEntry(message_id="m1", at=NOON + 1, event="accepted", users=alice),
            HistoryEntry(
                message_id="m1",
                at=NOON + 2_500_000,
                event="sent",
                detail={"status": 503},
            ),
        ]
        resolve(store.add_history(entries))

    def run(*arguments):
        status = cli.main(["message", "show", "--config", str(file), *arguments])
        return status, *capsys.readouterr()

    return run


FIRST = """\
message m1
  from      wv:bob@example.com
  to        sip:alice@example.com
  accepted  2026-11-21T12:00:00.000Z, answered 200
  expires   2026-11-21T12:16:40.000Z
  state     failed: the core\ufffd[31m refused
  2026-11-21T12:00:00.000Z  accepted
  2026-11-21T12:00:02.500Z  sent  status=503
"""


def test_a_message_is_shown_with_its_history(show):
    assert show("m1") == (0, FIRST, "")


def test_a_users_messages_are_shown_waiting_ones_too(show):
    status, output, _ = show("--user", "wv:Alice@example.com")
    assert status == 0
    assert output.startswith(FIRST)
    assert "\n\nmessage m2\n" in output
    assert "  state     waiting\n" in output
    assert show("--user", "alice", "--limit", "1")[1] == FIRST


def test_what_is_unknown_is_said_so(show):
    assert show("m9") == (1, "", "imps-gateway message: no message m9 is known\n")
    assert show("--user", "carol")[2].endswith("no message of this user is known\n")
    assert show("--user", "a b@")[0] == 1


def test_an_id_or_a_user_is_needed(show):
    for arguments in ([], ["m1", "--user", "alice"]):
        with pytest.raises(SystemExit) as ended:
            show(*arguments)
        assert ended.value.code == 2
