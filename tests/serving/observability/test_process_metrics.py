"""What the processes of a real service use together, as its metrics say it, and what is said where there is no /proc."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from serving.observability.process_metrics import ProcessCollector
from tests.serving.service_process import Server, retry, running

if not Path("/proc/self/stat").exists():
    pytest.skip("needs Linux's /proc", allow_module_level=True)


def told(server: Server) -> dict[str, float]:
    """The process metrics of a server, by name."""
    text = server.get("/metrics")[2].decode()
    return {name: float(value) for name, value in re.findall(r"^(gan_(?:process|worker)\w+) (\S+)$", text, re.MULTILINE)}


def test_all_workers_are_counted_whoever_answers(root: Path, folder: Path) -> None:
    """Memory and files of the launcher and both workers are in one number, no less than the workers' own."""
    with running(root, models=folder / "1-grey.onnx", workers=2) as server:
        numbers = told(server)
        workers = server.workers()
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in workers)
        assert numbers["gan_processes"] >= 3
        assert numbers["gan_process_resident_memory_bytes"] > 0.9 * pages * os.sysconf("SC_PAGE_SIZE")
        assert numbers["gan_process_open_fds"] > sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in workers)
        assert numbers["gan_process_start_time_seconds"] < Path(f"/proc/{server.process.pid}/stat").stat().st_mtime + 60


def test_cpu_time_never_falls(root: Path, folder: Path) -> None:
    """A worker that is killed leaves its time in the sum, so that a rate never sees the counter begin anew."""
    with running(root, models=folder / "1-grey.onnx", workers=2) as server:
        before = told(server)["gan_process_cpu_seconds_total"]
        (killed, _) = server.workers()
        os.kill(killed, signal.SIGKILL)
        seen = [before]
        while killed in server.workers() or len(server.workers()) < 2:
            seen.append(retry(lambda: told(server)).get("gan_process_cpu_seconds_total", seen[-1]))
        assert seen == sorted(seen)
        assert before > 0.1
        assert told(server)["gan_worker_crashes_total"] == 1


def test_without_proc_there_are_no_series(tmp_path: Path) -> None:
    """Another kernel has no such folder; its families are left out, and nothing fails."""
    assert [family.name for family in ProcessCollector(proc=tmp_path).collect()] == ["gan_worker_crashes"]
