"""The most memory that this process can be given: what is free on the machine, and the limit of its cgroup (version 2 or 1)."""

from __future__ import annotations

import re
from pathlib import Path

CGROUP_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")


def available_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes; what the processes of the cgroup have already is not subtracted, since a part of it can be reclaimed."""
    free = re.search(r"MemAvailable: +(\d+) kB", meminfo.read_text())
    limits = [1024 * int(free[1])] if free else []
    for name in CGROUP_LIMITS:
        try:
            limits.append(int((cgroup / name).read_text()))
        except (OSError, ValueError):  # no such file, or ``max``
            continue
    return min(limits, default=2**63)
