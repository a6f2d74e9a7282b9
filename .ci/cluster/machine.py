"""What the cluster takes of the machine and gives back: namespaces, a link, cgroups, settings.

The node has a network namespace of its own, joined to the machine's by one veth pair. Its pods and
services can be reached from the machine only through the API server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from parts import LOGS, MACHINE_ADDRESS, NODE, NODE_ADDRESS, PLAN, STATE

NETWORK_NAMESPACE = Path("/run/netns", NODE)
MACHINE_LINK = "callboard0"
CGROUP = "callboard-cluster"
CGROUPS = Path("/sys/fs/cgroup")
SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
"""Kubelet sets them, for the whole machine."""

_SAVED_SYSCTLS = STATE / "sysctls.json"
_PROCESS = STATE / "node.pid"


def run(*command: str) -> None:
    """Run ``command``, silently unless it fails.

    Raises:
        CalledProcessError: Its exit code is not 0.
    """
    ended = subprocess.run(command, text=True, capture_output=True, check=False)
    if ended.returncode != 0:
        sys.stderr.write(ended.stdout + ended.stderr)
        ended.check_returncode()


def start_node(program: Path) -> None:
    """Start ``program`` as process 1 of new namespaces, in a session of its own."""
    _save_sysctls()
    enter = ["nsenter", f"--net={NETWORK_NAMESPACE}"]
    # The machine's mounts go on to appear in the node; the node's do not appear on the machine.
    unshare = ["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"]
    unshare += ["--mount-proc", "--uts"]
    with (LOGS / "node.log").open("ab") as log:
        process = subprocess.Popen(
            [*enter, *unshare, sys.executable, str(program), str(PLAN)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _PROCESS.write_text(f"{process.pid} {_started(process.pid)}")


def node_process() -> int | None:
    """The process whose end is the node's; None when there is none."""
    if not _PROCESS.exists():
        return None
    pid, started = _PROCESS.read_text().split()
    # By now its number may be another process's.
    return int(pid) if _started(int(pid)) == started else None


def stop_node() -> None:
    """Have the kernel kill all processes of the node. `node_process` is None once they are gone."""
    if (process := node_process()) is None:
        return
    children = Path("/proc", str(process), "task", str(process), "children").read_text().split()
    # The first process of the namespace takes the others with it, and ends after them.
    for pid in [int(child) for child in children] or [process]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _started(pid: int) -> str | None:
    """When the process was started, in ticks since the machine was; None when it has ended."""
    try:
        # See proc(5). The fields are counted after the command's name, which may hold spaces.
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = fields[0], fields[19]
    return None if state == "Z" else started


def make_network() -> None:
    """A network namespace, and a link between it and the machine's."""
    inside = f"--net={NETWORK_NAMESPACE}"
    run("ip", "netns", "add", NODE)
    run("ip", "link", "add", MACHINE_LINK, "type", "veth", "peer", "name", "eth0", "netns", NODE)
    run("ip", "address", "add", f"{MACHINE_ADDRESS}/30", "dev", MACHINE_LINK)
    run("ip", "link", "set", MACHINE_LINK, "up")
    run("nsenter", inside, "ip", "address", "add", f"{NODE_ADDRESS}/30", "dev", "eth0")
    for link in ("lo", "eth0"):
        run("nsenter", inside, "ip", "link", "set", link, "up")
    # Nothing is behind it. Without a default route some parts find no address of their own.
    run("nsenter", inside, "ip", "route", "add", "default", "via", MACHINE_ADDRESS)


def remove_network() -> None:
    """Give back what `make_network` made."""
    if Path("/sys/class/net", MACHINE_LINK).exists():
        run("ip", "link", "delete", MACHINE_LINK)
    if NETWORK_NAMESPACE.exists():
        run("ip", "netns", "delete", NODE)


def make_cgroups() -> None:
    """The cgroup below which kubelet makes all others, in each hierarchy that is mounted."""
    for directory in _cgroups():
        directory.mkdir(exist_ok=True)
        # A cpuset starts out empty, and nothing can run in one that is.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if directory.parent.name == "cpuset":
                (directory / name).write_text((directory.parent / name).read_text())


def remove_cgroups() -> None:
    """Remove the cgroups that the node leaves behind, innermost first."""
    for directory in _cgroups():
        for inner, _, _ in os.walk(directory, topdown=False):
            Path(inner).rmdir()


def _cgroups() -> Iterator[Path]:
    if (CGROUPS / "cgroup.controllers").exists():  # version 2: one hierarchy
        yield CGROUPS / CGROUP
        return
    seen = set()
    for hierarchy in CGROUPS.iterdir():
        # Some have a second name: a symbolic link.
        if hierarchy.resolve() not in seen and (hierarchy / "cgroup.procs").exists():
            seen.add(hierarchy.resolve())
            yield hierarchy / CGROUP


def _save_sysctls() -> None:
    values = {name: Path("/proc/sys", name).read_text().strip() for name in SYSCTLS}
    _SAVED_SYSCTLS.write_text(json.dumps(values))


def restore_sysctls() -> None:
    """Put the system settings back as they were."""
    with suppress(FileNotFoundError):
        for name, value in json.loads(_SAVED_SYSCTLS.read_text()).items():
            Path("/proc/sys", name).write_text(value)
