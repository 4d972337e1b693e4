"""What every test shares: the marks for requirements and components, and their table.

``@pytest.mark.requirement("T-7.2-08")`` names the rows that a test shows, of
``gateway/data/requirements.csv``; ``@pytest.mark.component("tshark")`` the programs
that it runs. A fixture that starts a program implies its mark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.components import COMPONENTS
from tests.conformance import marked_ids, requirements

# The fixtures that start a component.
_STARTED_BY = {
    "bridge": "kamailio",
    "kamailio": "kamailio",
    "sipp": "sipp",
    "baresip": "baresip",
    "capture": "capture",
    "postgres": "postgresql",
}
_MOST_IDS = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--components``: whether an absent component fails the run."""
    parser.addoption(
        "--components",
        choices=("required", "none"),
        default=None,
        help="required: an absent component fails the run; none: its tests are left "
        "out. Without it, the collected tests that need an absent one fail.",
    )


def _components_of(item: pytest.Item) -> set[str]:
    named = {str(n) for mark in item.iter_markers("component") for n in mark.args}
    fixtures = getattr(item, "fixturenames", ())
    return named | {_STARTED_BY[name] for name in fixtures if name in _STARTED_BY}


def _faults(items: list[pytest.Item]) -> Iterator[str]:
    known = requirements()
    for item in items:
        ids = marked_ids(item)
        yield from (f"{item.nodeid}: no requirement {i}" for i in ids if i not in known)
        if len(ids) > _MOST_IDS:
            yield f"{item.nodeid}: {len(ids)} requirements, at most {_MOST_IDS}"
        for name in _components_of(item) - COMPONENTS.keys():
            yield f"{item.nodeid}: no component {name}"


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Refuse marks that name nothing; leave out what ``--components=none`` excuses."""
    if faults := list(_faults(items)):
        raise pytest.UsageError(*faults)
    if config.getoption("--components") != "none":
        return
    absent = {name for name, component in COMPONENTS.items() if not component.found()}
    left_out = [item for item in items if _components_of(item) & absent]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose component is absent, with the package that brings it."""
    for name in sorted(_components_of(item)):
        if not COMPONENTS[name].found():
            packages = " ".join(COMPONENTS[name].packages)
            pytest.fail(f"{name} is absent: apt-get install {packages}", pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole run for an absent component where all are required."""
    if session.config.getoption("--components") == "required" and not all(
        component.found() for component in COMPONENTS.values()
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the closing table: component, version, found or absent, tests that ran."""
    used = config.stash.setdefault(_RAN, [])
    ran = Counter(used)
    if config.getoption("--components") is None and not ran:
        return
    terminalreporter.section("components")
    terminalreporter.line(f"{'component':12} {'version':24} {'state':8} tests")
    for name, component in COMPONENTS.items():
        found = component.found()
        version = component.version() if found else "-"
        state = "found" if found else "ABSENT"
        terminalreporter.line(f"{name:12} {version:24} {state:8} {ran[name]}")


_RAN = pytest.StashKey[list[str]]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note which components a test that got as far as its call has used."""
    item.config.stash.setdefault(_RAN, []).extend(_components_of(item))
    yield
