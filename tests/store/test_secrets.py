"""The key of the state directory and what it seals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.store.secrets import FILE, Secrets


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path):
    directory = tmp_path / "var" / "state"
    sealed = Secrets.open(directory).seal("hush", "alice")
    assert Secrets.open(directory).unseal(sealed, "alice") == "hush"
    assert (directory / FILE).stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in directory.iterdir()] == [FILE]


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    script = (
        "import sys; from pathlib import Path; "
        "from gateway.store.secrets import Secrets; "
        "print(Secrets.open(Path(sys.argv[1])).key_id)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "state")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    assert len({process.communicate()[0] for process in started}) == 1


def test_sealed_texts_differ_and_show_nothing():
    secrets = Secrets(b"1" * 32)
    one, other = secrets.seal("hush", "a"), secrets.seal("hush", "a")
    assert one != other
    assert "hush" not in one
    assert secrets.unseal(one, "a") == secrets.unseal(other, "a") == "hush"
    assert secrets.unseal(secrets.seal("", "a"), "a") == ""


@pytest.mark.parametrize("change", ["context", "text", "form"])
def test_an_altered_text_does_not_open(change):
    secrets = Secrets(b"1" * 32)
    sealed = secrets.seal("hush", "alice")
    if change == "text":
        middle = len(sealed) // 2
        letter = "A" if sealed[middle] != "A" else "B"
        sealed = sealed[:middle] + letter + sealed[middle + 1 :]
    elif change == "form":
        sealed = sealed[:-1]
    with pytest.raises(ConfigError, match="altered"):
        secrets.unseal(sealed, "bob" if change == "context" else "alice")


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 44])
def test_a_damaged_key_file_is_a_fault_of_the_configuration(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ConfigError, match="no key of ours"):
        Secrets.open(tmp_path)


def test_a_state_directory_that_cannot_be_is_a_fault_of_the_configuration(tmp_path):
    Path(tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"gateway\.state_dir"):
        Secrets.open(tmp_path / "file" / "state")


def test_derived_keys_differ_by_purpose_and_stay():
    secrets = Secrets(b"1" * 32)
    assert secrets.derive("sip nonce") == Secrets(b"1" * 32).derive("sip nonce")
    assert secrets.derive("sip nonce") != secrets.derive("other")
    assert len(secrets.derive("other")) == 32
