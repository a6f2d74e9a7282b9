"""What a process has used of the machine, where there is a ``/proc`` to say it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Attributes: cpu_s: of all threads so far; resident_bytes: of memory, at this moment."""

    cpu_s: float
    resident_bytes: int


def usage_of(pid: int) -> Usage | None:
    """What a process has used; None where that cannot be known. See proc(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))
