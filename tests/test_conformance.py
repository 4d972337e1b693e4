"""The marks of the tests: requirements counted, components demanded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components import COMPONENTS, Component
from tests.conformance import TABLE, owed, requirements, table

ROOT = Path(__file__).parent.parent
_TESTS = """
import pytest

@pytest.mark.component("sipp")
def test_with_sipp():
    pass

def test_without():
    pass
"""


def run(folder: Path, text: str, *arguments: str) -> tuple[int, str]:
    """Run pytest over a file of its own on a machine without any component."""
    (folder / "test_sample.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "setup.cfg")]
    command += ["--rootdir", str(folder), "-p", "tests.conftest", *arguments]
    command += ["-p", "no:cacheprovider", str(folder / "test_sample.py")]
    environment = {**os.environ, "PATH": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_an_absent_component_fails_the_tests_that_need_it(tmp_path):
    status, output = run(tmp_path, _TESTS)
    assert status == 1
    assert "sipp is absent: apt-get install sip-tester" in output
    assert "1 passed" in output


def test_without_components_their_tests_are_left_out(tmp_path):
    status, output = run(tmp_path, _TESTS, "--components=none")
    assert status == 0
    assert "1 passed, 1 deselected" in output
    assert "ABSENT" in output


def test_an_absent_component_fails_a_whole_run(tmp_path):
    status, output = run(
        tmp_path, "def test_nothing():\n    pass\n", "--components=required"
    )
    assert status == 1
    assert "1 passed" in output


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ('requirement("T-0-00")', "no requirement T-0-00"),
        ('requirement("T-4-01", "T-4-02", "T-4-03", "T-5-01")', "at most 3"),
        ('component("kamelio")', "no component kamelio"),
    ],
)
def test_a_mark_that_names_nothing_is_refused(tmp_path, mark, complaint):
    text = f"import pytest\n\n@pytest.mark.{mark}\ndef test_it():\n    pass\n"
    status, output = run(tmp_path, text)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert complaint in output


def test_a_component_needs_every_probe_and_its_permission(tmp_path):
    def sample(*probes: str, permitted: tuple[str, ...] = ()) -> Component:
        packages = ("no-such-package",)
        return Component(
            name="sample", packages=packages, probes=probes, permitted=permitted
        )

    (tmp_path / "one.so").touch()
    pattern = f"{tmp_path}/*.so"
    assert sample(pattern).found()
    assert not sample(pattern, f"{tmp_path}/*.a").found()
    refused = (sys.executable, "-c", "raise SystemExit(2)")
    assert not sample(pattern, permitted=refused).found()
    assert sample(pattern).version() == "other"


def test_every_requirement_has_an_id_of_its_own_and_a_check():
    rows = requirements()
    text = TABLE.read_text(encoding="utf-8")
    assert len(rows) == len(text.splitlines()) - 1
    assert all(row["black_box_test"] for row in rows.values())
    assert sum(map(owed, rows.values())) < len(rows)


def test_the_table_counts_what_is_shown():
    nothing = table({})[-1].split()
    assert nothing[0] == "all"
    assert nothing[2:] == ["0", "0"]
    # One that binds the gateway, one that binds its peers.
    both = table({"T-4-01": ["a"], "T-7.6-02": ["b"]})[-1].split()
    assert both[1:] == [nothing[1], "1", "1"]


def test_every_component_has_a_folder_or_needs_none():
    # What a test starts by a script of ours names the same program.
    scripts = {path.parent.name for path in (ROOT / "tests/components").glob("*/*.sh")}
    assert scripts <= {*COMPONENTS, "postgres"}
