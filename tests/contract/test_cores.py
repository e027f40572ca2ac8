"""How many cores a process may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.cores import usable_cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 10**6),
        ({"cpu.max": "max 100000\n"}, 10**6),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 10**6),
        ({"cpu.max": "nonsense"}, 10**6),
    ],
)
def test_cores_are_limited_by_affinity_and_quota(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    """F-19: affinity and the cgroup's quota limit the number of cores."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert usable_cores(tmp_path) == min(cores, usable_cores(tmp_path / "none"))
