"""Processor cores that a process may use."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Number of cores available to this process, by its affinity and its cgroup's quota (version 2 or 1)."""
    quota, period = _quota(cgroup)
    allowed = len(os.sched_getaffinity(0))
    return min(allowed, max(1, ceil(quota / period))) if quota > 0 and period > 0 else allowed


def _quota(cgroup: Path) -> tuple[int, int]:
    """CPU quota and period of a cgroup in microseconds; zeros for no limit."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
            return (0, 0) if quota == "max" else (int(quota), int(period))
        return int((cgroup / "cpu/cpu.cfs_quota_us").read_text()), int((cgroup / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return 0, 0
