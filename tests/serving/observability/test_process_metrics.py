"""Metrics of a real service's processes together, and without readable processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.observability.process_metrics import ProcessCollector
from tests.harness.processes import wait_for
from tests.harness.service import Server, running

pytestmark = pytest.mark.process

if not Path("/proc/self/stat").exists():
    pytest.skip("compares with Linux's /proc", allow_module_level=True)


def read_metrics(server: Server) -> dict[str, float]:
    """The process metrics of a server by name."""
    text = server.get("/metrics")[2].decode()
    return {name: float(value) for name, value in re.findall(r"^(gan_(?:process|worker)\w+) (\S+)$", text, re.MULTILINE)}


def test_all_processes_are_counted_by_any_worker(root: Path, folder: Path) -> None:
    """Memory and files of the launcher and both workers are summed, and agree with /proc."""
    with running(root, models=folder / "1-grey.onnx", workers=2) as server:
        numbers = read_metrics(server)
        workers = server.workers()
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in workers)
        assert numbers["gan_processes"] >= 3
        assert numbers["gan_process_resident_memory_bytes"] > 0.9 * pages * os.sysconf("SC_PAGE_SIZE")
        assert numbers["gan_process_open_fds"] > sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in workers)
        assert numbers["gan_process_start_time_seconds"] < Path(f"/proc/{server.process.pid}/stat").stat().st_mtime + 60


def test_cpu_time_never_decreases(root: Path, folder: Path) -> None:
    """The CPU time of a killed worker stays in the sum, so that a rate sees no counter reset."""
    with running(root, models=folder / "1-grey.onnx", workers=2) as server:
        before = read_metrics(server)["gan_process_cpu_seconds_total"]
        (killed, _) = server.workers()
        os.kill(killed, signal.SIGKILL)
        seen = [before]
        while killed in server.workers() or len(server.workers()) < 2:
            seen.append(wait_for(lambda: read_metrics(server)).get("gan_process_cpu_seconds_total", seen[-1]))
        assert seen == sorted(seen)
        assert before > 0.1
        assert read_metrics(server)["gan_worker_crashes_total"] == 1


def test_numbers_are_those_of_proc() -> None:
    """CPU time, start and number of processes agree with /proc for this process and an ended and a running child."""
    with subprocess.Popen([sys.executable, "-c", "sum(range(10**7))"]) as ended, subprocess.Popen(["sleep", "60"]) as running:
        ended.wait()
        collector = ProcessCollector()
        ticks_before, count = cpu_ticks()
        numbers = {family.name: family.samples[0].value for family in collector.collect()}
        ticks_after, _ = cpu_ticks()
        running.kill()
    ticks = numbers["gan_process_cpu_seconds"] * os.sysconf("SC_CLK_TCK")
    assert ticks_before <= round(ticks) <= ticks_after
    assert numbers["gan_processes"] == count
    assert 0 < time.time() - numbers["gan_process_start_time_seconds"] < 86400


def cpu_ticks() -> tuple[int, int]:
    """CPU time of this process and its children by /proc/PID/stat (fields 14 to 17 in proc(5)), and their number."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    own, *children = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in ["self", *pids])
    return sum(map(int, own[11:15])) + sum(int(child[11]) + int(child[12]) for child in children), 1 + len(children)


def test_an_ended_service_has_no_series() -> None:
    """When the first process cannot be read, only the crashes remain, and nothing fails."""
    with subprocess.Popen(["sleep", "60"]) as process:
        collector = ProcessCollector(process.pid)
        process.kill()
    assert [family.name for family in collector.collect()] == ["gan_worker_crashes"]
