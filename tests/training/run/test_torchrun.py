"""Training under torchrun, as the Job of deploy/kubernetes starts it: a worker that dies is replaced and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from training.run.job import MODEL

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
JOB = ROOT / "deploy/kubernetes/training/job/job.yaml"
STEPS = 100
RECIPE = ("train", "toy1d", "--device", "cpu", "--steps", str(STEPS), "--checkpoint-seconds", "0")
CONTROLLER = {
    "PET_NNODES": "1",
    "PET_NPROC_PER_NODE": "auto",
    "PET_NODE_RANK": "0",
    "PET_MASTER_ADDR": "gan-train.invalid",
    "PET_MASTER_PORT": "29400",
}
"""What Kubeflow Trainer sets for torchrun in a pod."""


def launcher() -> list[str]:
    """The Job's command, with this environment's programs in the place of the image's."""
    (container,) = yaml.safe_load(JOB.read_text())["spec"]["template"]["spec"]["containers"]
    program, *options = container["command"]
    return [str(Path(sys.executable).with_name(Path(program).name)), *options]


def start(command: list[str], run: Path, **environ: str) -> subprocess.Popen[str]:
    """A training program of its own, its output to be read."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environ}
    return subprocess.Popen(
        [*command, *RECIPE, "--out", str(run)],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def worker_of(launched: subprocess.Popen[str], run: Path) -> int:
    """The worker's process id, once it has saved a checkpoint in the run's second half."""
    while launched.poll() is None:
        if max((int(path.stem.split("-")[1]) for path in run.glob("checkpoint-*.pt")), default=0) >= STEPS // 2:
            children = Path(f"/proc/{launched.pid}/task").glob("*/children")
            workers = [int(pid) for found in children for pid in found.read_text().split() if is_worker(int(pid))]
            assert len(workers) == 1
            return workers[0]
        time.sleep(0.002)
    raise AssertionError(launched.communicate()[0])


def is_worker(pid: int) -> bool:
    """Whether it is the training program, not a helper process of it or of torchrun."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:5] == [b"-m", b"training", b"train"]


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_run_ends_the_same(tmp_path: Path) -> None:
    """SIGKILL for the worker: torchrun starts another one, which goes on from the checkpoint to the same bytes.

    The variables that Kubeflow Trainer sets name a rendezvous that does not exist: the command's own options win.
    """
    unbroken = start([sys.executable, "-m", "training"], tmp_path / "whole")
    launched = start(launcher(), tmp_path / "broken", **CONTROLLER)
    os.kill(worker_of(launched, tmp_path / "broken"), signal.SIGKILL)
    said = launched.communicate(timeout=300)[0]
    assert launched.returncode == 0, said
    assert "going on from step" in said
    assert unbroken.wait(timeout=300) == 0
    assert unbroken.communicate()[0]
    for name in (MODEL, "stats.jsonl", f"samples/step-{STEPS:06d}.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes(), name


@pytest.mark.slow
def test_a_pod_that_is_told_to_leave_saves_first(tmp_path: Path) -> None:
    """SIGTERM for torchrun reaches the worker, which saves a checkpoint, says so, and exports nothing."""
    launched = start(launcher(), tmp_path)
    worker_of(launched, tmp_path)
    launched.send_signal(signal.SIGTERM)
    said = launched.communicate(timeout=60)[0]
    assert launched.returncode != 0
    assert "it goes on from there when it is started again" in said
    assert not (tmp_path / MODEL).exists()


@pytest.mark.slow
def test_more_than_one_process_is_refused(tmp_path: Path) -> None:
    """Two workers would play the same game twice in one directory: each says so, and neither writes anything."""
    options = ["--nproc-per-node=2" if option.startswith("--nproc") else option for option in launcher()]
    launched = start([option.replace("--max-restarts=3", "--max-restarts=0") for option in options], tmp_path / "run")
    said = launched.communicate(timeout=120)[0]
    assert launched.returncode != 0
    assert "WORLD_SIZE must be 1, got '2': a run is one process" in said
    assert not (tmp_path / "run").exists()
