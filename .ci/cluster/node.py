"""Process 1 of the node: runs what a Kubernetes node and its control plane consist of.

Runs in mount, network, process and host-name namespaces of its own, which `cluster.py` makes. When
it ends, the kernel kills all that started in them, containers and their shims included, and their
mounts go with them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PRIVATE = ("/run", "/var/lib/cni", "/var/log/containers")
"""Directories whose paths the parts have built in: the node gets its own."""


def main(plan_file: Path) -> None:
    """Start every part of the plan; end, and everything with it, when one of them ends."""
    plan = json.loads(plan_file.read_text())
    _isolate()
    parts: dict[int, str] = {}
    for name, command in plan["parts"].items():
        # Some end when what they need is not there yet.
        while not all(_listens(Path(address)) for address in plan["needs"].get(name, ())):
            _reap(parts, plan["logs"], os.WNOHANG)
            time.sleep(0.1)
        with Path(plan["logs"], f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | plan["environment"],
            )
        parts[process.pid] = name
    # The first process has no default handlers: a signal that it does not handle is not delivered.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        _reap(parts, plan["logs"])


def _reap(parts: dict[int, str], logs: str, options: int = 0) -> None:
    # Containers' shims are orphans on purpose: they end up here, too, and are reaped.
    pid, status = os.waitpid(-1, options)
    if pid in parts:
        code = os.waitstatus_to_exitcode(status)
        sys.exit(f"{parts[pid]} ended with {code}: see {logs}/{parts[pid]}.log")


def _listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0


def _isolate() -> None:
    # Volumes that kubelet mounts must reach the containers that containerd starts.
    _run("mount", "--make-rshared", "/")
    for directory in PRIVATE:
        Path(directory).mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "tmpfs", directory)
    Path("/run/lock").mkdir()  # iptables keeps its lock here
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
