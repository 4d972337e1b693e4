"""The rules of the house that no linter can see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for top in ("gateway", "plugins", "twisted")
    for path in ROOT.glob(f"{top}/**/*.py")
)
LONGEST_FILE = 500
LONGEST_FUNCTION = 50
# What a decision may need of Twisted: no transport, no protocol, no reactor.
SERVICES_MAY_IMPORT = {
    "twisted.internet.defer",
    "twisted.internet.interfaces",
    "twisted.internet.task",
}


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Give the names under which each import statement could be known.

    ``from a import b`` is both ``a`` and ``a.b``: b may be a module or a name in one.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                (node.module, f"{node.module}.{alias.name}") for alias in node.names
            )


def offenders(sources: list[Path], allowed: set[str], package: str) -> list[str]:
    """List the imports of a package in these sources that are not allowed ones."""
    return [
        f"{path.relative_to(ROOT)}: {names[-1]}"
        for path in sources
        for names in imports(path)
        if names[0].split(".")[0] == package and not allowed & set(names)
    ]


def test_services_know_only_the_time_and_the_promises_of_twisted():
    services = [path for path in SOURCES if "gateway/services/" in path.as_posix()]
    assert services
    assert offenders(services, SERVICES_MAY_IMPORT, "twisted") == []


def test_only_the_command_imports_the_plugins():
    others = [
        path
        for path in SOURCES
        if "gateway" in path.parts and path != ROOT / "gateway" / "tap.py"
    ]
    assert offenders(others, set(), "plugins") == []


def test_only_the_commands_import_the_global_reactor():
    others = [
        path
        for path in SOURCES
        if path != ROOT / "gateway" / "tap.py" and "cli" not in path.parts
    ]
    names = {name for path in others for found in imports(path) for name in found}
    assert "twisted.internet.reactor" not in names


def test_the_checks_see_a_forbidden_import(tmp_path):
    module = tmp_path / "gateway" / "services" / "bad.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "from twisted.internet import defer, reactor\nimport twisted.web.client\n"
    )
    found = [names[-1] for names in imports(module)]
    assert found == [
        "twisted.internet.defer",
        "twisted.internet.reactor",
        "twisted.web.client",
    ]


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_no_file_and_no_function_is_too_long(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno for node in functions}
    assert {
        n: length for n, length in lengths.items() if length > LONGEST_FUNCTION
    } == {}


def test_the_plugin_directory_of_twisted_is_no_package():
    # A package there would hide Twisted's own.
    assert not (ROOT / "twisted" / "__init__.py").exists()
    assert not (ROOT / "twisted" / "plugins" / "__init__.py").exists()
