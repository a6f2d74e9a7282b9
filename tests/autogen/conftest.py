"""A host of ours, and AutoGen's own, on which the tests that hold for both run as well."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from autogen.world import PYTHON, Stage, autogen_host, callboard_host


@pytest.fixture(scope="session", autouse=True)
def autogen() -> None:
    """AutoGen's environment is there."""
    if not PYTHON.exists():
        missing = "AutoGen has no environment: run these tests by `make test-autogen`"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture(scope="session")
def ours() -> Iterator[str]:
    """A host of ours for all tests that leave it as it is."""
    with callboard_host() as address:
        yield address


@pytest.fixture(scope="session")
def theirs() -> Iterator[str]:
    """The same of AutoGen's."""
    with autogen_host() as address:
        yield address


@pytest.fixture
async def stage(ours: str) -> AsyncIterator[Stage]:
    """What our host does."""
    made = Stage(ours)
    yield made
    await made.close()


@pytest.fixture(params=["ours", "theirs"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """What both hosts do alike."""
    made = Stage(request.getfixturevalue(request.param))
    yield made
    await made.close()
