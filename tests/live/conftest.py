"""Fixtures that start the real programs on free ports and end them with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from tests.live.gateway import GatewayService, beside
from tests.live.handset import Handset
from tests.live.programs import (
    Baresip,
    Capture,
    Kamailio,
    PostgreSql,
    Program,
    sipp_scenario,
)
from tests.live.sipuser import SipUser

P = TypeVar("P", bound=Program)


class Stage:
    """What plays in one test; it ends in the reverse order of its start."""

    def __init__(self, folder: Path, ending: ExitStack) -> None:
        self.folder = folder
        self.ending = ending

    def start(self, program: P) -> P:
        """Start a program that is stopped with the test at the latest."""
        self.ending.callback(program.end)
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
def gateway(stage: Stage) -> Callable[..., GatewayService]:
    """Start the service; its options are those of :class:`GatewayService`."""
    return lambda **options: stage.start(GatewayService(stage.folder, **options))


@pytest.fixture
def bridge(stage: Stage) -> Callable[..., tuple[GatewayService, Kamailio]]:
    """Start the service and a core; :func:`tests.live.gateway.beside` says which."""

    def start(
        side: str, *, transport: str = "udp", **options: str
    ) -> tuple[GatewayService, Kamailio]:
        gateway, core = beside(stage.folder, side, transport=transport, **options)
        stage.start(core)
        return stage.start(gateway), core

    return start


@pytest.fixture
def handset(stage: Stage) -> Callable[..., Handset]:
    """Make a handset of a gateway's subscriber; the options of :class:`Handset`."""
    return lambda gateway, user, **options: stage.ending.enter_context(
        Handset(
            gateway.http_port,
            f"wv:{user}@{gateway.domain}",
            gateway.password(user),
            **options,
        )
    )


@pytest.fixture
def postgres(stage: Stage) -> PostgreSql:
    """Start a private database server."""
    return stage.start(PostgreSql(stage.folder / "postgres.log"))


@pytest.fixture
def capture(stage: Stage) -> Callable[[list[int]], Capture]:
    """Start to capture what goes over these loopback ports."""
    return lambda ports: stage.start(Capture(stage.folder, ports))
