"""What the images hold, and what they must not."""

from __future__ import annotations

import re
import ssl
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from images.built import BUILD_DEADLINE_S, ROOT, Images
from images.docker import docker, inspect, run

LARGEST_BYTES = 70_000_000
"""Over its base, which has 123 MB where `.ci/images/base.sh` made it."""

VERSION = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def found_modules(image: str, *names: str) -> list[str]:
    """Which of these modules an image's Python finds."""
    code = (
        "import sys; from importlib.util import find_spec; print(*filter(find_spec, sys.argv[1:]))"
    )
    return run(image, "python", "-c", code, *names).split()


def test_an_image_is_no_larger_than_stated(image: str) -> None:
    """A dependency that comes in by accident shows here."""
    layers = docker(
        "history", "--human=false", "--no-trunc", "--format={{.Size}} {{.CreatedBy}}", image
    )
    # The newest first; those below Callboard's environment are the base's.
    own, separator, _ = layers.partition(" COPY /opt/callboard ")
    assert separator
    assert sum(int(line.split()[0]) for line in own.splitlines()) < LARGEST_BYTES


def test_an_image_says_what_it_is(image: str) -> None:
    """Its labels are those that registries show, with the project's version."""
    labels = inspect(image)["Config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert VERSION is not None
    assert labels[prefix + "title"] in {"callboard-host", "callboard-worker"}
    assert labels[prefix + "version"] == VERSION[1]
    assert labels[prefix + "licenses"] == "Apache-2.0"
    assert labels[prefix + "description"]


def test_an_image_runs_callboard_itself_as_nobody_in_particular(images: Images) -> None:
    """No shell stands between the container and Python, and the user is a number."""
    for image, command in ((images.host, "host"), (images.worker, "worker")):
        config = inspect(image)["Config"]
        assert config["Entrypoint"] == ["callboard", command]
        assert not config["Cmd"]
        assert config["User"] == "65532:65532"
        assert {"PYTHONUNBUFFERED=1", "CALLBOARD_LOG_FORMAT=json"} <= set(config["Env"])
    assert set(inspect(images.host)["Config"]["ExposedPorts"]) == {"50051/tcp", "50052/tcp"}


def test_an_image_has_nothing_that_builds_or_installs(image: str) -> None:
    """Neither a compiler on the PATH, nor pip or uv in Callboard's environment."""
    tools = "cc gcc g++ clang ld make uv /opt/callboard/bin/pip /opt/callboard/bin/hatchling"
    find = f"for tool in sh {tools}; do command -v $tool || true; done"
    assert run(image, "sh", "-c", find).splitlines() == ["/usr/bin/sh"]
    assert found_modules(image, "pip", "uv", "hatchling", "setuptools") == []


def test_an_image_has_its_extras(images: Images) -> None:
    """Each has what its command and telemetry import, the host nothing for workers."""
    both = [
        "grpc_health",
        "opentelemetry.exporter.otlp.proto.grpc",
        "opentelemetry.instrumentation.grpc",
        "opentelemetry.sdk",
    ]
    more = ["cloudevents", "watchfiles"]
    assert found_modules(images.host, *both, *more) == both
    assert found_modules(images.worker, *both, *more) == both + more


def test_bytecode_is_compiled_and_current(image: str) -> None:
    """On a read-only root, compiling all of it would fail if anything were left to do."""
    run(image, "python", "-m", "compileall", "-q", "/opt/callboard/lib")


@pytest.mark.timeout(BUILD_DEADLINE_S + 20)
@pytest.mark.parametrize("which", ["host", "worker", "example"])
def test_certificates_and_settings_stay_out_of_the_layers(
    images: Images, which: str, tmp_path: Path
) -> None:
    """A build whose certificates carry a mark leaves neither the mark nor pip's file anywhere."""
    mark = f"mark-{uuid4().hex}"
    trusted = ssl.get_default_verify_paths().cafile
    assert trusted is not None, "this machine has no bundle of certificates"
    certificates = tmp_path / "certificates"
    certificates.write_text(f"{Path(trusted).read_text()}\n# {mark}\n")
    arguments = {
        "host": ("--file=Dockerfile.host", "."),
        "worker": ("--file=Dockerfile.worker", "."),
        "example": (f"--build-arg=WORKER={images.worker}", "deploy/examples/daylight"),
    }[which]
    name = f"callboard-test:{mark}"
    images.build(
        "--no-cache", f"--tag={name}", *arguments, env={"SSL_CERT_FILE": str(certificates)}
    )
    try:
        archive = tmp_path / "image.tar"
        docker("save", f"--output={archive}", name, deadline_s=60)
        # Layers lie in it as they are, not compressed: what they hold can be read.
        for text, is_there in (
            ("def main() -> NoReturn", True),
            (f"# {mark}", False),
            ("cert = /run/secrets", False),
        ):
            found = subprocess.run(
                ["grep", "--quiet", "--text", "--fixed-strings", text, archive], check=False
            )
            assert (found.returncode == 0) is is_there, text
    finally:
        docker("rmi", name)
