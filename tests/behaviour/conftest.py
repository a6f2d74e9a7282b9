"""Every test here runs twice: in one process, and against a host with three workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from behaviour.agents import setup
from behaviour.world import Cluster, World, cluster, local_world, remote_world


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """A host and three workers for all tests that leave them as they are."""
    with cluster(workers=3) as made:
        yield made


@pytest.fixture(params=["local", "processes"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A runtime with the agents of `behaviour.agents` behind it."""
    if request.param == "local":
        async with local_world(setup) as made:
            yield made
    else:
        shared: Cluster = request.getfixturevalue("shared_cluster")
        async with remote_world(shared.address) as made:
            yield made
