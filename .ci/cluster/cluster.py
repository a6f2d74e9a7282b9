"""A Kubernetes cluster of one node where no images can be pulled: for tests, not for use.

``up`` starts etcd, containerd, the control plane, kubelet and kube-proxy as processes in namespaces
of their own, and CoreDNS as a pod. ``import`` copies images to it from the Docker daemon. ``down``
removes all of that, and the images that ``up`` built in Docker. What ``packages.sh``, ``build.sh``
and ``docker.sh`` have brought stays: packages, binaries, a daemon. Wants root and Docker.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import machine
import parts
from parts import KUBECONFIG, LOGS, NODE, STATE

HERE = Path(__file__).resolve().parent
PAUSE_IMAGE = "callboard.test/pause:1"
OURS = "callboard.test/*"
IMAGES = {
    "pause": PAUSE_IMAGE,
    "coredns": "callboard.test/coredns:1",  # as coredns.yaml has it
    "jaeger": "callboard.test/jaeger:2.13.0",
}
"""What is made of each binary, beside the images that are imported."""
NAMES_ON_THE_NODE = {
    IMAGES["jaeger"]: "docker.io/jaegertracing/jaeger:2.13.0"
}  # as the chart has it
"""Names of others, which images have on the node and nowhere else."""
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0
DOCKER = os.environ.get("DOCKER", "docker")


class Failed(Exception):
    """It cannot be done; the text says why."""


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="cluster.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up_parser = commands.add_parser("up", help="start it; one that runs is left as it is")
    up_parser.add_argument(
        "--bin", type=Path, required=True, help="the directory that build.sh prints"
    )
    import_parser = commands.add_parser("import", help="copy images from the Docker daemon")
    import_parser.add_argument("images", nargs="+", metavar="IMAGE")
    commands.add_parser("down", help="stop it, and remove its state and its images in Docker")
    commands.add_parser("runs", help="exit with 0 if it runs, with 1 if not")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("cluster.py: namespaces, mounts and cgroups want root")
    if arguments.command == "runs":
        sys.exit(0 if machine.node_process() else 1)
    try:
        with machine.alone():
            match arguments.command:
                case "up":
                    up(arguments.bin)
                case "import":
                    import_images(arguments.images)
                case _:
                    down()
    except BlockingIOError:
        sys.exit("cluster.py: another one is at work on this machine")
    except (Failed, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"cluster.py: {error}")


def up(binaries: Path) -> None:
    """Start a fresh cluster and wait until pods can be scheduled and names looked up.

    Raises:
        Failed, OSError, CalledProcessError: It did not come up. What was made of it is removed.
    """
    if machine.node_process() is not None:
        furnish(binaries)
    else:
        down()
        try:
            start(binaries)
            furnish(binaries)
        except BaseException:
            keep_logs()
            down()
            raise
    print(f"export KUBECONFIG={KUBECONFIG} PATH={STATE / 'bin'}:$PATH")


def start(binaries: Path) -> None:
    """Start the node and what runs on it outside of pods."""
    if shutil.which(DOCKER) is None:
        msg = f"{DOCKER} is missing, which builds and keeps the images: see .ci/images/docker.sh"
        raise Failed(msg)
    parts.prepare(binaries, PAUSE_IMAGE)
    machine.make_network()
    machine.make_cgroups()
    machine.start_node(HERE / "node.py")
    (STATE / "bin").mkdir()
    (STATE / "bin" / "kubectl").symlink_to(binaries / "kubectl")


def furnish(binaries: Path) -> None:
    """See to the images and the pods that every cluster has."""
    kubectl = [str(binaries / "kubectl"), f"--kubeconfig={KUBECONFIG}"]
    wait_for("containerd", lambda: succeeds(*ctr("version")))
    for binary, image in IMAGES.items():
        build_image(binaries / binary, image)
    import_images(list(IMAGES.values()))
    for image, name in NAMES_ON_THE_NODE.items():
        machine.run(*ctr("images", "tag", "--force", image, name))
    wait_for("the API server", lambda: succeeds(*kubectl, "get", "--raw=/readyz"))
    machine.run(*kubectl, "apply", f"--filename={HERE / 'coredns.yaml'}")
    wait_for("the node", lambda: succeeds(*kubectl, "get", "node", NODE))
    timeout = f"--timeout={START_TIMEOUT_S:g}s"
    machine.run(*kubectl, "wait", timeout, "--for=condition=Ready", f"node/{NODE}")
    machine.run(*kubectl, "rollout", "status", timeout, "-n=kube-system", "deployment/coredns")


def ctr(*arguments: str) -> list[str]:
    """A command for the node's containerd."""
    return ["ctr", f"--address={parts.CONTAINERD_SOCKET}", "--namespace=k8s.io", *arguments]


def import_images(images: list[str]) -> None:
    """Copy ``images`` from the Docker daemon to the node.

    Raises:
        Failed: Docker does not give them.
    """
    with subprocess.Popen([DOCKER, "save", *images], stdout=subprocess.PIPE) as saved:
        subprocess.run(ctr("images", "import", "-"), stdin=saved.stdout, check=True)
    if saved.returncode != 0:
        msg = f"Docker could not save {' '.join(images)}"
        raise Failed(msg)


def down() -> None:
    """Stop everything and put the machine back as it was. Does nothing where nothing is left.

    Raises:
        TimeoutError: It does not stop.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    # Again and again: one that was about to start another is gone after it.
    while machine.node_processes():
        if time.monotonic() > deadline:
            msg = f"waited {STOP_TIMEOUT_S:g} s for the node's end"
            raise TimeoutError(msg)
        machine.stop_node()
        time.sleep(0.1)
    machine.remove_network()
    machine.remove_cgroups()
    machine.restore_sysctls()
    if STATE.exists():
        shutil.rmtree(STATE)
    forget_images()


def forget_images() -> None:
    """Remove what `build_image` made, where a Docker daemon answers."""
    with suppress(FileNotFoundError):
        listing = [DOCKER, "images", f"--filter=reference={OURS}"]
        listing += ["--format={{.Repository}}:{{.Tag}}"]
        found = subprocess.run(listing, text=True, capture_output=True, check=False)
        # By their names: the same image may have others.
        if images := found.stdout.split():
            machine.run(DOCKER, "rmi", *images)


def keep_logs() -> None:
    """Move what the parts have said to where it is not removed, and say where."""
    if LOGS.exists() and any(LOGS.iterdir()):
        kept = tempfile.mkdtemp(prefix="callboard-cluster-")
        shutil.move(LOGS, kept)
        sys.stderr.write(f"cluster.py: what the parts say is in {kept}/{LOGS.name}\n")


def build_image(binary: Path, image: str) -> None:
    """An image that holds ``binary`` and nothing else."""
    directory = STATE / "images" / binary.name
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy2(binary, directory)
    dockerfile = f'FROM scratch\nCOPY {binary.name} /\nUSER 65532\nENTRYPOINT ["/{binary.name}"]\n'
    (directory / "Dockerfile").write_text(dockerfile)
    machine.run(DOCKER, "build", "--quiet", f"--tag={image}", str(directory))


def succeeds(*command: str) -> bool:
    """Whether ``command`` exits with 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def wait_for(what: str, is_there: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> None:
    """Ask until it is there, as long as the node lives.

    Raises:
        TimeoutError: It is not there after ``timeout_s``, or the node ended.
    """
    deadline = time.monotonic() + timeout_s
    while not is_there():
        if time.monotonic() > deadline:
            msg = f"waited {timeout_s:g} s for {what}"
            raise TimeoutError(msg)
        if machine.node_process() is None:
            msg = f"the node ended before {what} was there"
            raise TimeoutError(msg)
        time.sleep(0.3)


if __name__ == "__main__":
    main()
