"""Runs docker, and containers that end with their test."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

DEADLINE_S = 30.0
CONFINED = (
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)
"""How a container runs on a cluster that allows little."""


def docker(*arguments: str, deadline_s: float = DEADLINE_S) -> str:
    """Run ``docker`` to its end; its output. It must succeed."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, check=False, text=True, timeout=deadline_s
    )
    assert done.returncode == 0, f"docker {arguments} ended with {done.returncode}: {done.stderr}"
    return done.stdout


def inspect(thing: str) -> dict[str, Any]:
    """What Docker knows of a container or an image."""
    (found,) = json.loads(docker("inspect", thing))
    assert isinstance(found, dict)
    return found


def run(image: str, *command: str, network: str = "none") -> str:
    """Run ``command`` in a container, instead of what the image would run; its standard output."""
    entrypoint, *rest = command
    options = ("--rm", *CONFINED, f"--network={network}", f"--entrypoint={entrypoint}")
    return docker("run", *options, image, *rest)


@dataclass(frozen=True)
class Ending:
    """How a container ended when it was asked to, and how long that took."""

    code: int
    seconds: float


@dataclass(frozen=True)
class Container:
    """A container that runs."""

    name: str

    def line(self, text: str) -> str:
        """Wait for a line of its output, or its errors, that holds ``text``; return it."""
        lines = []
        with subprocess.Popen(
            ["docker", "logs", "--follow", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as logs:
            assert logs.stdout is not None
            give_up = threading.Timer(DEADLINE_S, logs.kill)
            give_up.start()
            try:
                for line in logs.stdout:
                    if text in line:
                        return line.rstrip("\n")
                    lines.append(line)
            finally:
                give_up.cancel()
                logs.kill()
        msg = f"no line with {text!r} from {self.name}: {lines}"
        raise AssertionError(msg)

    def execute(self, *command: str) -> str:
        """Run a command in it; its output."""
        return docker("exec", self.name, *command)

    def stop(self) -> Ending:
        """Send SIGTERM and wait for the end; after the deadline it is killed."""
        start = monotonic()
        docker("stop", f"--time={DEADLINE_S:g}", self.name, deadline_s=DEADLINE_S + 10)
        return Ending(inspect(self.name)["State"]["ExitCode"], monotonic() - start)


@dataclass(frozen=True)
class Network:
    """A network of Docker's on which containers find each other by name."""

    name: str

    @contextmanager
    def container(
        self, image: str, *arguments: str, options: tuple[str, ...] = ()
    ) -> Iterator[Container]:
        """Start a container on it; it is removed in the end, whatever it does."""
        name = f"callboard-test-{uuid4().hex[:12]}"
        where = (f"--name={name}", f"--network={self.name}")
        try:
            docker("run", "--detach", *where, *CONFINED, *options, image, *arguments)
            yield Container(name)
        finally:
            docker("rm", "--force", name)

    @contextmanager
    def host(self, image: str) -> Iterator[Container]:
        """Start a host where the workers' image looks for one."""
        options = ("--network-alias=callboard-host",)
        with self.container(image, options=options) as host:
            host.line("listening on 0.0.0.0:50051")
            yield host

    @contextmanager
    def worker(
        self, image: str, *arguments: str, options: tuple[str, ...] = ()
    ) -> Iterator[Container]:
        """Start a worker and wait until it serves."""
        with self.container(image, *arguments, options=options) as worker:
            worker.line("ready")
            yield worker


@contextmanager
def open_network() -> Iterator[Network]:
    """A network of its own."""
    name = f"callboard-test-{uuid4().hex[:12]}"
    docker("network", "create", name)
    try:
        yield Network(name)
    finally:
        docker("network", "rm", name)
