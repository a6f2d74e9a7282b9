"""A Kubernetes cluster of one node where no images can be pulled: for tests, not for use.

``up`` starts etcd, containerd, the control plane, kubelet and kube-proxy as processes in namespaces
of their own, and CoreDNS as a pod. ``import`` copies images to it from the Docker daemon. ``down``
leaves nothing behind. Wants root, Docker, and the binaries that ``build.sh`` makes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine
import parts
from parts import KUBECONFIG, LOGS, NODE, STATE

HERE = Path(__file__).resolve().parent
PAUSE_IMAGE = "callboard.test/pause:1"
IMAGES = {
    "pause": PAUSE_IMAGE,
    "coredns": "callboard.test/coredns:1",  # as coredns.yaml has it
    "jaeger": "jaegertracing/jaeger:2.13.0",  # as the chart has it
}
"""What is made of each binary, beside the images that are imported."""
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0
DOCKER = os.environ.get("DOCKER", "docker")


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
    commands.add_parser("down", help="stop it and remove its state")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("cluster.py: namespaces, mounts and cgroups want root")
    match arguments.command:
        case "up":
            up(arguments.bin)
        case "import":
            import_images(arguments.images)
        case _:
            down()


def up(binaries: Path) -> None:
    """Start a fresh cluster and wait until pods can be scheduled and names looked up."""
    kubectl = [str(binaries / "kubectl"), f"--kubeconfig={KUBECONFIG}"]
    if machine.node_process() is None:
        down()
        parts.prepare(binaries, PAUSE_IMAGE)
        machine.make_network()
        machine.make_cgroups()
        machine.start_node(HERE / "node.py")
        (STATE / "bin").mkdir()
        (STATE / "bin" / "kubectl").symlink_to(binaries / "kubectl")
    try:
        wait_for("containerd", parts.CONTAINERD_SOCKET.exists)
        for binary, image in IMAGES.items():
            build_image(binaries / binary, image)
        import_images(list(IMAGES.values()))
        wait_for("the API server", lambda: succeeds(*kubectl, "get", "--raw=/readyz"))
        machine.run(*kubectl, "apply", f"--filename={HERE / 'coredns.yaml'}")
        wait_for("the node", lambda: succeeds(*kubectl, "get", "node", NODE))
        timeout = f"--timeout={START_TIMEOUT_S:g}s"
        machine.run(*kubectl, "wait", timeout, "--for=condition=Ready", f"node/{NODE}")
        machine.run(*kubectl, "rollout", "status", timeout, "-n=kube-system", "deployment/coredns")
    except (subprocess.CalledProcessError, TimeoutError) as error:
        sys.exit(f"cluster.py: {error}; what the parts say is in {LOGS}")
    print(f"export KUBECONFIG={KUBECONFIG} PATH={STATE / 'bin'}:$PATH")


def import_images(images: list[str]) -> None:
    """Copy ``images`` from the Docker daemon to the node."""
    with subprocess.Popen([DOCKER, "save", *images], stdout=subprocess.PIPE) as saved:
        ctr = ["ctr", f"--address={parts.CONTAINERD_SOCKET}", "--namespace=k8s.io"]
        subprocess.run([*ctr, "images", "import", "-"], stdin=saved.stdout, check=True)
    if saved.returncode != 0:
        sys.exit(f"cluster.py: Docker could not save {' '.join(images)}")


def down() -> None:
    """Stop everything and put the machine back as it was. Does nothing where nothing is left."""
    machine.stop_node()
    wait_for("the node's end", lambda: machine.node_process() is None, STOP_TIMEOUT_S)
    machine.remove_network()
    machine.remove_cgroups()
    machine.restore_sysctls()
    if STATE.exists():
        shutil.rmtree(STATE)


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
