"""The supervisor, with small real processes instead of workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.process.supervisor import (
    MAX_BACKOFF_SECONDS,
    MAX_SERVED_BACKOFF_SECONDS,
    MIN_BACKOFF_SECONDS,
    STABLE_SECONDS,
    restart_delay,
)
from tests.harness.processes import TIMEOUT, wait_for, wait_until
from tests.harness.service import running
from tests.serving.process.test_faults import metrics_directory

pytestmark = pytest.mark.process

PROGRAM = """
import multiprocessing, os, sys, time
from serving.process import supervisor
from serving.process.supervisor import Supervisor, watch_signals

def work(kind):
    print("began", flush=True)
    if kind == "ignores SIGTERM":
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ignores", flush=True)
    if kind == "slow":
        import signal
        def end(number, frame):
            time.sleep(0.5)
            print("flushed", flush=True)
            os._exit(0)
        signal.signal(signal.SIGTERM, end)
        print("slow", flush=True)
    if kind in ("78", "1"):
        os._exit(int(kind))
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    refusals = [OSError(11, "no process") for _ in range(3 * (sys.argv[1] == "refused"))]
    def start(index):
        if refusals:
            raise refusals.pop()
        process = context.Process(target=work, args=(sys.argv[1],))
        process.start()
        return process
    stopped_by = Supervisor(
        start, 1, is_hopeless=lambda code, running: code == 78, on_end=lambda *facts: None,
        on_no_start=lambda index, error: print("refused", error.errno, flush=True),
        drain=lambda: print("drain", flush=True),
        drain_seconds=float(sys.argv[2]), stop_seconds=0.2,
    ).run(watch_signals())
    print("over", stopped_by and stopped_by.name, flush=True)
"""


@contextmanager
def supervise(root: Path, tmp_path: Path, kind: str, drain_seconds: float = 0) -> Iterator[subprocess.Popen[str]]:
    """A supervisor of one worker that sleeps, ignores SIGTERM, stops slowly, or exits with a code at once."""
    path = tmp_path / "supervise.py"
    path.write_text(textwrap.dedent(PROGRAM))
    with subprocess.Popen(
        [sys.executable, str(path), kind, str(drain_seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # a test that fails must not wait for a supervisor that runs


def test_a_worker_that_ignores_sigterm_is_killed(root: Path, tmp_path: Path) -> None:
    """A worker that still runs after ``stop_seconds`` and the grace period gets SIGKILL."""
    with supervise(root, tmp_path, "ignores SIGTERM") as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["began\n", "ignores\n"]
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=TIMEOUT)[0].split() == ["drain", "over", "SIGTERM"]


def test_a_worker_may_flush_after_its_last_response(root: Path, tmp_path: Path) -> None:
    """A worker that writes its log and its spans within the grace period after ``stop_seconds`` is not killed."""
    with supervise(root, tmp_path, "slow") as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["began\n", "slow\n"]
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=TIMEOUT)[0].split() == ["drain", "flushed", "over", "SIGTERM"]


def test_a_worker_that_cannot_start_ends_the_supervisor(root: Path, tmp_path: Path) -> None:
    """A worker that could not start is not restarted, and no signal is named as the reason."""
    with supervise(root, tmp_path, "78") as process:
        assert process.communicate(timeout=TIMEOUT)[0].split() == ["began", "over", "None"]


def test_workers_that_crash_at_once_are_restarted_with_backoff(root: Path, tmp_path: Path) -> None:
    """F-24: each crashed worker is restarted; the delay doubles each time."""
    with supervise(root, tmp_path, "1") as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(4)] == 4 * ["began\n"]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=TIMEOUT)[0].split()[-2:] == ["over", "SIGINT"]


def test_a_process_that_the_system_refuses_is_started_later(root: Path, tmp_path: Path) -> None:
    """F-24: where there are too many processes for one more, or no descriptor is left, the supervisor tries again."""
    with supervise(root, tmp_path, "refused") as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(4)] == [*3 * ["refused 11\n"], "began\n"]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=TIMEOUT)[0].split()[-2:] == ["over", "SIGINT"]


def test_workers_that_served_are_restarted_soon_after_any_number_of_crashes() -> None:
    """F-04: the delay of a worker that has served stays short, while that of one that never serves grows to 10 s."""
    for has_served, longest in ((True, MAX_SERVED_BACKOFF_SECONDS), (False, MAX_BACKOFF_SECONDS)):
        delays = [MIN_BACKOFF_SECONDS]
        for _ in range(22):
            delays.append(restart_delay(min(2 * delays[-1], MAX_BACKOFF_SECONDS), 1.2, has_served=has_served))
        assert max(delays) == delays[-1] == longest
    assert restart_delay(MAX_BACKOFF_SECONDS, STABLE_SECONDS + 1, has_served=False) == MIN_BACKOFF_SECONDS


def test_a_broken_file_does_not_end_workers_that_serve(root: Path, folder: Path, tmp_path: Path) -> None:
    """When a worker crashes while the file on disk is broken, its successor is refused, and the other worker serves alone until
    the file is whole again.
    """
    path = tmp_path / "m.onnx"
    whole = (folder / "1-grey.onnx").read_bytes()
    path.write_bytes(whole)
    with running(root, models=path, workers=2, watch_seconds=0) as server:
        before = server.get("/generate?seed=42")[2]
        path.write_bytes(whole[:-1])
        crashed, other = server.workers()
        os.kill(crashed, signal.SIGKILL)
        assert server.process.stdout is not None
        while '"event": "refused"' not in server.process.stdout.readline():
            pass
        path.write_bytes(whole)
        wait_until(lambda: len(set(server.workers()) - {crashed}) == 2, "the crashed one is replaced")
        assert other in server.workers()
        assert server.get("/generate?seed=42")[2] == before
        assert server.stop() == 0


def test_a_restarted_worker_continues_the_counters(root: Path, folder: Path) -> None:
    """O-13: after several crashes no counter has decreased, and there are as many metric files as before the first."""
    with running(root, models=folder / "1-grey.onnx", workers=1) as server:
        files = {}
        for count in range(1, 6):
            assert wait_for(lambda: server.get("/generate?seed=42"))[0] == 200
            text = server.get("/metrics")[2].decode()
            assert f'gan_http_requests_total{{code="200",method="GET",route="/generate"}} {count}.0' in text
            assert "gan_ready 1.0" in text
            files[count] = sorted(path.name for path in metrics_directory(server).iterdir())
            (worker,) = server.workers()
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda worker=worker: worker not in server.workers(), "it is gone")  # type: ignore[misc]
        assert files[5] == files[1]
        assert wait_for(lambda: server.get("/healthz"))[0] == 200
        assert server.stop() == 0
