"""Kills the first process of a container: python -c "$(cat kill.py)" CONTAINER.

Nothing inside of a container can: the kernel keeps SIGKILL from a first process where it is the
first. So this runs in a pod of the same node and the same user that shares the node's processes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from signal import SIGKILL


def first_process(container: str) -> int:
    """Its number on the node.

    Raises:
        LookupError: There is none.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_inside = container in (process / "cgroup").read_text()
            status = (process / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        numbers = next(line for line in status.splitlines() if line.startswith("NSpid:"))
        if is_inside and numbers.split()[-1] == "1":
            return int(process.name)
    msg = f"no process of container {container} is on this node"
    raise LookupError(msg)


if __name__ == "__main__":
    os.kill(first_process(sys.argv[1]), SIGKILL)
