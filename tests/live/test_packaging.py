"""What an operator installs: the package as pip makes it, without the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
_NOT_SHIPPED = shutil.ignore_patterns(
    ".git", ".venv*", "var", "*.egg-info", "build", "__pycache__", ".*_cache"
)


def run(*command: str, cwd: Path) -> str:
    """Run a command to its end; return its output. A failure shows the output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of a new environment with the package in it."""
    folder = tmp_path_factory.mktemp("installed")
    # A copy, as a build writes beside its sources.
    shutil.copytree(ROOT, folder / "source", ignore=_NOT_SHIPPED)
    run(sys.executable, "-m", "venv", str(folder / "venv"), cwd=folder)
    programs = folder / "venv" / "bin"
    run(
        str(programs / "python"),
        *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--constraint", "constraints.txt", "."),
        cwd=folder / "source",
    )
    shutil.rmtree(folder / "source")
    return programs


def test_the_installed_twistd_knows_the_command(installed, tmp_path):
    output = run(str(installed / "twistd"), "imps-gateway", "--help", cwd=tmp_path)
    assert "--config" in output


def test_the_installed_command_checks_a_configuration(installed, tmp_path):
    config = tmp_path / "gateway.toml"
    config.write_text('[gateway]\ndomain = "example.com"\n')
    command = str(installed / "imps-gateway")
    output = run(command, "check-config", str(config), cwd=tmp_path)
    assert output.strip().endswith("ok")


def test_the_installed_service_takes_handsets(installed, gateway, handset):
    service = gateway(programs=installed)
    carol = handset(service, "carol")
    assert carol.login().code == "200"
    assert carol.logout().code == "200"


def test_the_tables_and_migrations_are_installed(installed, tmp_path):
    listing = (
        "import importlib.resources as r;"
        "print(*(p.name for p in (r.files('gateway') / 'data').iterdir()));"
        "print(*(p.name for p in"
        " (r.files('gateway.store') / 'migrations' / 'versions').iterdir()))"
    )
    output = run(str(installed / "python"), "-c", listing, cwd=tmp_path)
    data, versions = output.splitlines()
    shipped = {path.name for path in (ROOT / "gateway" / "data").glob("*.csv")}
    assert shipped <= set(data.split())
    assert ".py" in versions
