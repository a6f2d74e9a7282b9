"""What the tests of the images share: Docker, the images, a network."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import NoReturn

import pytest

from images.built import Images
from images.docker import Network, open_network


def _miss(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def images() -> Images:
    """The images that the environment names; ``make images-test`` sets it."""
    names = ("HOST_IMAGE", "WORKER_IMAGE", "IMAGE_BUILDER")
    for name in names:
        if not os.environ.get(name):
            _miss(f"{name} is not set: run these tests by `make images-test`")
    if shutil.which("docker") is None:
        _miss("docker is missing")
    host, worker, builder = (os.environ[name] for name in names)
    for command, problem in (
        (("docker", "version"), "no Docker daemon answers: start one (.ci/images/docker.sh does)"),
        (("docker", "image", "inspect", host), f"there is no image {host}: make images"),
        (("docker", "image", "inspect", worker), f"there is no image {worker}: make images"),
    ):
        if subprocess.run(command, capture_output=True, check=False, timeout=30).returncode != 0:
            _miss(problem)
    return Images(host, worker, tuple(shlex.split(builder)))


@pytest.fixture
def network(images: Images) -> Iterator[Network]:
    """A network for one test."""
    with open_network() as network:
        yield network


@pytest.fixture(params=["host", "worker"])
def image(images: Images, request: pytest.FixtureRequest) -> str:
    """Either image."""
    return str(getattr(images, request.param))
