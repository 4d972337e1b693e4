"""What make says on a machine that lacks something."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def make(folder: Path, *arguments: str, path: str | None = None) -> tuple[int, str]:
    """Run make in a bare checkout; return its status and what it says."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        if not (folder / name).exists():
            shutil.copy(ROOT / name, folder)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    if path is not None:
        environment["PATH"] = path
    done = subprocess.run(
        [shutil.which("make") or "make", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def program(folder: Path, name: str, text: str) -> Path:
    """Write an executable shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("python", "package"),
    [
        ("exit 1", "python3.11"),
        ('case "$2" in *version*) exit 0;; *) exit 1;; esac', "python3-venv"),
    ],
)
def test_an_unfit_python_is_named(tmp_path, python, package):
    unfit = program(tmp_path, "unfit-python", python)
    status, said = make(tmp_path, "venv", f"PYTHON={unfit}")
    assert status != 0
    assert package in said
    assert not (tmp_path / ".venv").exists()


def test_a_missing_program_is_named_with_its_package(tmp_path):
    status, said = make(tmp_path, "venv", "PYTHON=no-such-python")
    assert status != 0
    assert "no-such-python is missing: apt-get install python3" in said
    # A machine with a shell and nothing else.
    bare = tmp_path / "bin"
    bare.mkdir()
    status, said = make(tmp_path, "venv", "SHELL=/bin/sh", path=str(bare))
    assert status != 0
    assert "git is missing: apt-get install git" in said


def test_an_environment_that_is_up_to_date_is_left_alone(tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program(tmp_path / ".venv" / "bin", "python", "exit 1")
    stamp = tmp_path / ".venv" / ".run"
    assert make(tmp_path, "--question", "venv")[0] == 1
    stamp.touch()
    assert make(tmp_path, "--question", "venv")[0] == 0
    # A changed pin is seen.
    os.utime(stamp, (1, 1))
    assert make(tmp_path, "--question", "venv")[0] == 1
