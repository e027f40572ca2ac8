"""Training under torchrun, as the Job of deploy/kubernetes starts it: workers that die are replaced and go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.training.conftest import tiny_context
from tests.training.ranks import play_ranks
from training.game.ranks import Ranks
from training.run.config import RunConfig
from training.run.context import JobContext
from training.run.follow import follow
from training.run.job import MODEL, train

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


def launcher(ranks: int) -> list[str]:
    """The Job's command, with this environment's programs in the place of the image's, and that many processes."""
    (container,) = yaml.safe_load(JOB.read_text())["spec"]["template"]["spec"]["containers"]
    program, *options = container["command"]
    options = [f"--nproc-per-node={ranks}" if option.startswith("--nproc-per-node") else option for option in options]
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


def workers_of(launched: subprocess.Popen[str], run: Path) -> list[int]:
    """The workers' process ids by their rank, once a checkpoint in the run's second half is saved."""
    while launched.poll() is None:
        if max((int(path.stem.split("-")[1]) for path in run.glob("checkpoint-*.pt")), default=0) >= STEPS // 2:
            children = Path(f"/proc/{launched.pid}/task").glob("*/children")
            return sorted(
                (int(pid) for found in children for pid in found.read_text().split() if is_worker(int(pid))), key=rank_of
            )
        time.sleep(0.002)
    raise AssertionError(launched.communicate()[0])


def is_worker(pid: int) -> bool:
    """Whether it is the training program, not a helper process of it or of torchrun."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:5] == [b"-m", b"training", b"train"]


def rank_of(pid: int) -> int:
    """The rank that torchrun gave a worker."""
    (rank,) = re.findall(rb"(?<=\0)RANK=(\d+)", Path(f"/proc/{pid}/environ").read_bytes())
    return int(rank)


def train_unbroken(ranks: Ranks, run: Path) -> None:
    """A rank's part of the same run, without torchrun."""
    context = replace(tiny_context(run), ranks=ranks, grids=JobContext.grids, checkpoints=JobContext.checkpoints)
    assert follow(context) if ranks.rank else train(RunConfig(recipe="toy1d", steps=STEPS), context)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_run_ends_the_same(tmp_path: Path) -> None:
    """T-19: SIGKILL for one of two workers: torchrun starts both anew, and they go on from the checkpoint to the same bytes.

    The worker that is left ends at once and says why; it does not wait for the time limit of the group. The variables that
    Kubeflow Trainer sets name a rendezvous that does not exist: the command's own options win.
    """
    launched = start(launcher(2), tmp_path / "broken", **CONTROLLER)
    _, killed = workers_of(launched, tmp_path / "broken")
    os.kill(killed, signal.SIGKILL)
    said = launched.communicate(timeout=300)[0]
    assert launched.returncode == 0, said
    assert "error on rank 0: another rank has ended" in said
    assert "going on from step" in said
    assert play_ranks(train_unbroken, tmp_path / "ranks", tmp_path / "whole") == [None, None]
    for name in (MODEL, "stats.jsonl", f"samples/step-{STEPS:06d}.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes(), name


@pytest.mark.slow
def test_a_pod_that_is_told_to_leave_saves_first(tmp_path: Path) -> None:
    """SIGTERM for torchrun reaches the workers: all stop at the same step, one saves and says so, and nothing is exported."""
    launched = start(launcher(2), tmp_path)
    workers_of(launched, tmp_path)
    launched.send_signal(signal.SIGTERM)
    said = launched.communicate(timeout=60)[0]
    assert launched.returncode != 0
    (step,) = re.findall(r"stopped at step (\d+); it goes on from there when it is started again", said)
    assert max(path.name for path in tmp_path.glob("checkpoint-*.pt")) == f"checkpoint-{int(step):09d}.pt"
    assert not (tmp_path / MODEL).exists()
