"""``imps-gateway COMMAND``: finding commands, exit statuses, faults as lines."""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gateway import __version__, cli
from gateway.configtable import ConfigFaults
from gateway.errors import ConfigError


@pytest.fixture
def command(monkeypatch):
    """Install a command named ``try-it`` whose run is given by the test."""

    def install(run):
        module = ModuleType("gateway.cli.try_it")
        module.SUMMARY = "tries it"  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        found = [
            pkgutil.ModuleInfo(None, name, False)  # type: ignore[arg-type]
            for name in ("try_it", "_private")
        ]
        monkeypatch.setattr(pkgutil, "iter_modules", lambda path: iter(found))

    return install


def test_a_command_gets_its_arguments_and_gives_the_exit_status(command):
    seen = []

    def run(arguments):
        seen.extend(arguments)
        return 7

    command(run)
    assert cli.main(["try-it", "--to", "x"]) == 7
    assert seen == ["--to", "x"]


def test_help_lists_the_commands_with_their_summaries(command, capsys):
    command(lambda arguments: 0)
    assert cli.commands() == ["try-it"]
    assert cli.main(["--help"]) == 0
    assert "  try-it        tries it\n" in capsys.readouterr().out


def test_without_a_command_the_usage_goes_to_stderr(command, capsys):
    command(lambda arguments: 0)
    assert cli.main([]) == cli.USAGE_FAULT
    assert capsys.readouterr().err.startswith("usage: imps-gateway")


def test_an_unknown_command_names_the_nearest(command, capsys):
    command(lambda arguments: 0)
    assert cli.main(["tri-it"]) == cli.USAGE_FAULT
    assert capsys.readouterr().err == (
        "imps-gateway: no command 'tri-it'; the nearest known name is 'try-it'\n"
    )


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"imps-gateway {__version__}\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("store.url", "is old"), "store.url: is old\n"),
        (
            ConfigFaults([ConfigError("a.b", "c"), ConfigError("d.e", "f")], "x.toml"),
            "x.toml: a.b: c\nx.toml: d.e: f\n",
        ),
    ],
)
def test_faults_of_the_configuration_are_lines_and_status_1(
    command, capsys, error, line
):
    def fail(arguments):
        raise error

    command(fail)
    assert cli.main(["try-it"]) == 1
    assert capsys.readouterr().err == line


def test_control_c_ends_quietly(command, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    command(interrupted)
    assert cli.main(["try-it"]) == 130
    assert capsys.readouterr().err == ""


def test_every_installed_command_has_a_summary():
    assert {"check-config", "handset", "sip-user"} <= set(cli.commands())
    for name in cli.commands():
        module = cli._module(name)
        assert module.SUMMARY
        assert "\n" not in module.SUMMARY
        assert callable(module.run)


@pytest.mark.parametrize("name", ["handset", "sip-user"])
def test_every_option_of_the_terminal_commands_is_documented(name):
    text = (Path(__file__).parents[2] / "docs" / "terminal.md").read_text()
    parser = cli._module(name)._parser()
    options = {word for action in parser._actions for word in action.option_strings}
    assert {option for option in options if f"`{option}" not in text} == {
        "-h",
        "--help",
    }
