"""What the README says to type on a cluster, typed as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import pytest
import yaml
from kubernetes import client, config

from e2e.release import ROOT, wait_until

pytestmark = pytest.mark.timeout(300)

SECTION = re.search(
    r"^## On Kubernetes\n(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
assert SECTION
# The first two make a cluster; the rest is for any.
INSTALL, LOAD, JAEGER = re.findall(r"^```sh\n(.*?)^```$", SECTION[1], re.MULTILINE | re.DOTALL)[2:]


@pytest.fixture(scope="module")
def shell(cluster: client.VersionApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell as the README's reader has it, whose cluster has a namespace for them alone."""
    namespace = f"callboard-readme-{uuid4().hex[:6]}"
    core = client.CoreV1Api()
    core.create_namespace({"metadata": {"name": namespace}})
    try:
        yield Shell(namespace, tmp_path_factory.mktemp("kube") / "config")
    finally:
        core.delete_namespace(namespace)


class Shell:
    """Runs commands in the repository's folder, with ``namespace`` as the current one."""

    def __init__(self, namespace: str, kubeconfig: Path) -> None:
        _, current = config.list_kube_config_contexts()
        given = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        document = yaml.safe_load(given.read_text())
        for context in document["contexts"]:
            if context["name"] == current["name"]:
                context["context"]["namespace"] = namespace
        kubeconfig.write_text(yaml.safe_dump(document))
        self._environment = os.environ | {"KUBECONFIG": str(kubeconfig)}

    def type(self, commands: str) -> str:
        """What they print, if all succeed."""
        bash = ["bash", "-eu", "-o", "pipefail", "-c", commands]
        ended = subprocess.run(
            bash, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{commands}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def start(self, commands: str) -> subprocess.Popen[bytes]:
        """Start what runs until it is stopped."""
        return subprocess.Popen(["bash", "-c", f"exec {commands}"], env=self._environment)


def test_an_event_goes_there_and_back(shell: Shell) -> None:
    """Installing and testing it."""
    said = shell.type(INSTALL)
    assert "an event there and back in" in said


def test_nothing_is_missing_after_scaling(shell: Shell) -> None:
    """The load over workers that come and go ends as the README says."""
    said = shell.type(LOAD)
    assert re.search(r"^answered +5000$", said, re.MULTILINE), said
    assert re.search(r"^missing +0$", said, re.MULTILINE), said


def test_jaeger_has_the_load(shell: Shell) -> None:
    """The page is there, and the service that the README names."""
    forward = shell.start(JAEGER)
    try:
        wait_until(lambda: "load" in _services(), "the service `load` in Jaeger")
    finally:
        forward.terminate()
        forward.wait()


def _services() -> list[str]:
    try:
        with urlopen("http://localhost:16686/api/services") as answer:
            assert answer.status == HTTPStatus.OK
            return list(json.load(answer)["data"] or [])
    except OSError:
        return []  # not forwarded yet
