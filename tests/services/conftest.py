"""Nodes to test, and the check that none of them stumbled over itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from gateway.services.node import Node
from tests.services.doubles import START, Core, Handset, build, result_of


@pytest.fixture(autouse=True)
def failures() -> Iterator[list[LogEvent]]:
    """Fail a test in which a defect was logged; one that expects it clears the list."""
    found: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            found.append(event)

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)
    assert not found, [event["log_failure"].getTraceback() for event in found]


@pytest.fixture
def clock() -> Clock:
    """Give the time, which stands until the test moves it."""
    clock = Clock()
    clock.advance(START)
    return clock


@pytest.fixture
def core() -> Core:
    """Give the SIP side, which answers everything with 200."""
    return Core()


@pytest.fixture
def make(clock: Clock, core: Core) -> Iterator[Callable[..., Node]]:
    """Start nodes, which end with the test."""
    nodes: list[Node] = []

    def made(**settings: Any) -> Node:
        node = build(clock, settings.pop("core", core), **settings)
        nodes.append(node)
        return node

    yield made
    for node in nodes:
        result_of(node.stop())


@pytest.fixture
def node(make: Callable[..., Node]) -> Node:
    """Start a node with the defaults of the configuration."""
    return make()


@pytest.fixture
def alice(node: Node) -> Handset:
    """Give Alice's handset of CSP 1.2, logged in and negotiated: push, one by one."""
    return Handset(node).open()
