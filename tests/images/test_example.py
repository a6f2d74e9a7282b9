"""deploy/examples/daylight, by its README: somebody's own agent, with a package of its own."""

from __future__ import annotations

import json
import re

import pytest

from images.built import BUILD_DEADLINE_S, ROOT, Images
from images.docker import Network, docker, run

EXAMPLE = ROOT / "deploy" / "examples" / "daylight"


@pytest.mark.timeout(BUILD_DEADLINE_S + 20)
def test_the_agent_of_an_own_image_answers(images: Images, network: Network) -> None:
    """The image is built on the worker's; its agent replies what the README shows."""
    readme = (EXAMPLE / "README.md").read_text()
    question = re.search(r" call (\S+) \\\n.*\n\s+--data '(.+)'", readme)
    assert question is not None
    name = "callboard-test:daylight"
    images.build(f"--tag={name}", f"--build-arg=WORKER={images.worker}", str(EXAMPLE))
    try:
        with network.host(images.host), network.worker(name) as worker:
            call = ("callboard", "call", question[1], "--type-name", "WhenIsDaylight")
            reply = run(images.worker, *call, "--data", question[2], network=network.name)
            assert json.loads(reply) == json.loads(readme.split("```json\n")[1].split("```")[0])
            assert worker.stop().code == 0
    finally:
        docker("rmi", name)


def test_the_example_names_the_image_that_make_builds() -> None:
    """Its default base has the version of this project."""
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert version is not None
    assert f"\nARG WORKER=callboard-worker:{version[1]}\n" in (EXAMPLE / "Dockerfile").read_text()
    named = re.findall(r"callboard-(?:host|worker):([\d.]+)", (EXAMPLE / "README.md").read_text())
    assert set(named) == {version[1]}
