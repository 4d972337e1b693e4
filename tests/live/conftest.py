"""Fixtures that start the real programs on free ports and end them with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from tests.live.programs import Baresip, Capture, Kamailio, Program, sipp_scenario
from tests.live.sipuser import SipUser

P = TypeVar("P", bound=Program)


class Stage:
    """What plays in one test; it ends in the reverse order of its start."""

    def __init__(self, folder: Path, ending: ExitStack) -> None:
        self.folder = folder
        self.ending = ending

    def start(self, program: P) -> P:
        """Start a program that is stopped with the test at the latest."""
        self.ending.callback(lambda: program.stop() if program.running else None)
        program.start()
        return program


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Start and end what plays in the test."""
    with ExitStack() as ending:
        yield Stage(tmp_path, ending)


@pytest.fixture
def kamailio(stage: Stage) -> Callable[..., Kamailio]:
    """Start a SIP core; its options are those of :class:`Kamailio`."""
    return lambda **options: stage.start(Kamailio(stage.folder, **options))


@pytest.fixture
def sip_user(stage: Stage) -> Callable[..., SipUser]:
    """Open a SIP terminal of our own; its options are those of :class:`SipUser`."""
    return lambda *names, **options: stage.ending.enter_context(
        SipUser(*names, **options)
    )


@pytest.fixture
def baresip(stage: Stage) -> Callable[[str, str, Kamailio], Baresip]:
    """Start a SIP terminal of others: user, whom it writes to, its core."""
    return lambda user, contact, core: stage.start(
        Baresip(stage.folder, user, contact, core)
    )


@pytest.fixture
def sipp(stage: Stage) -> Callable[..., Program]:
    """Start SIPp with a scenario and its further arguments."""
    return lambda scenario, *arguments: stage.start(
        sipp_scenario(stage.folder, scenario, *arguments)
    )


@pytest.fixture
def capture(stage: Stage) -> Callable[[list[int]], Capture]:
    """Start to capture what goes over these loopback ports."""
    return lambda ports: stage.start(Capture(stage.folder, ports))
