"""What the tests of the command share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cli.command import Commands, Running


@pytest.fixture
def commands() -> Iterator[Commands]:
    """Starts commands that end with the test."""
    commands = Commands()
    yield commands
    commands.kill()


@dataclass(frozen=True)
class Shop:
    """A host with one worker for all tests that only talk to them, each to agents of its own."""

    address: str
    host: Running
    worker: Running


@pytest.fixture(scope="package")
def shop() -> Iterator[Shop]:
    """A host, and a worker of `shop.setup`."""
    commands = Commands()
    host, address = commands.host()
    yield Shop(address, host, commands.worker(address, "shop:setup"))
    commands.kill()


@pytest.fixture(scope="package")
def nobody() -> str:
    """An address where nobody listens: the port was free a moment ago."""
    commands = Commands()
    host, address = commands.host()
    host.terminate()
    host.wait()
    commands.kill()
    return address
