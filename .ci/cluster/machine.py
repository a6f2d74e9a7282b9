"""What the cluster takes of the machine and gives back: namespaces, a link, cgroups, settings.

The node has a network namespace of its own, joined to the machine's by one veth pair. Its pods and
services can be reached from the machine only through the API server.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from parts import LOGS, MACHINE_ADDRESS, NODE, NODE_ADDRESS, PLAN, STATE

NETWORK_NAMESPACE = Path("/run/netns", NODE)
MACHINE_LINK = "callboard0"
CGROUP = "callboard-cluster"
CGROUPS = Path("/sys/fs/cgroup")
SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
"""Kubelet sets them, for the whole machine."""

_SAVED_SYSCTLS = STATE / "sysctls.json"
_PROCESS = STATE / "node.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def alone() -> Iterator[None]:
    """Nobody else makes or removes a cluster meanwhile: names are the machine's, wherever state is.

    Raises:
        BlockingIOError: Somebody does.
    """
    # The directory itself: a file would have to stay for as long as anybody may wait for it.
    lock = os.open(STATE.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


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
    _write(_PROCESS, {"pid": process.pid, "started": _started(process.pid), "boot": _boot()})


def node_process() -> int | None:
    """The process whose end is the node's; None when there is none, or none is known."""
    process = _read(_PROCESS)
    # By now its number may be another process's.
    if process.get("boot") == _boot() and _started(process["pid"]) == process["started"]:
        return int(process["pid"])
    return None


def node_processes() -> list[int]:
    """Those that share the node's network: its parts, and whoever has started them."""
    if not NETWORK_NAMESPACE.exists():
        return []
    said = subprocess.run(["ip", "netns", "pids", NODE], capture_output=True, text=True, check=True)
    return [int(pid) for pid in said.stdout.split()]


def stop_node() -> None:
    """Have the kernel kill all processes of the node. `node_processes` is empty once they ended."""
    for pid in node_processes():
        with suppress(ProcessLookupError):
            # The first process of the namespaces takes with it what is in them, containers too.
            os.kill(pid, signal.SIGKILL)


def _boot() -> str:
    """Which of its boots the machine is in."""
    return _BOOT.read_text().strip()


def _write(file: Path, value: dict[str, Any]) -> None:
    """All of it or nothing, whenever this is broken off."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(value))
    new.rename(file)


def _read(file: Path) -> dict[str, Any]:
    """What `_write` wrote; empty when it has not."""
    try:
        value = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


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
    _write(_SAVED_SYSCTLS, {"boot": _boot(), "values": values})


def restore_sysctls() -> None:
    """Put the system settings back as they were, unless the machine has set them anew since."""
    saved = _read(_SAVED_SYSCTLS)
    if saved.get("boot") == _boot():
        for name, value in saved["values"].items():
            Path("/proc/sys", name).write_text(value)
