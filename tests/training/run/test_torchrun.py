"""Training under torchrun, as the Job of deploy/kubernetes starts it: workers that die are replaced and go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
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
ATTEMPTS = 5
"""Runs of which one is killed before its end, however busy the machine."""
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


def start(command: list[str], run: Path, *options: str, **environ: str) -> subprocess.Popen[str]:
    """A training program of its own, its output to be read."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environ}
    return subprocess.Popen(
        [*command, *RECIPE, *options, "--out", str(run)],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def workers_of(launched: subprocess.Popen[str], run: Path) -> list[int]:
    """The workers' process ids by their rank, once a checkpoint is saved; none where the run has ended before."""
    while launched.poll() is None:
        if list(run.glob("checkpoint-*.pt")):
            children = [path.read_text().split() for path in Path(f"/proc/{launched.pid}/task").glob("*/children")]
            ranks = {int(pid): rank_of(int(pid)) for pids in children for pid in pids}
            return sorted((pid for pid, rank in ranks.items() if rank is not None), key=lambda pid: ranks[pid] or 0)
        time.sleep(0.002)
    return []


def rank_of(pid: int) -> int | None:
    """The rank that torchrun gave a worker; None for one that has ended, and for a helper process of it or of torchrun."""
    with suppress(FileNotFoundError, ProcessLookupError):
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:5] == [b"-m", b"training", b"train"]:
            ranks = re.findall(rb"(?<=\0)RANK=(\d+)", Path(f"/proc/{pid}/environ").read_bytes())
            return int(ranks[0]) if ranks else None
    return None


def kill_one_of_two(run: Path) -> str:
    """What a run of two workers prints of which the second is killed once a checkpoint is saved."""
    launched = start(launcher(2), run, **CONTROLLER)
    for pid in workers_of(launched, run)[1:]:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGKILL)
    said = launched.communicate(timeout=300)[0]
    assert launched.returncode == 0, said
    return said


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
    for attempt in range(ATTEMPTS):  # a machine may be so busy that the worker has taken its last step when it is killed
        broken = tmp_path / f"broken-{attempt}"
        if "error on rank 0: another rank has ended" in (said := kill_one_of_two(broken)):
            break
    assert "error on rank 0: another rank has ended" in said
    assert "going on from step" in said
    assert play_ranks(train_unbroken, tmp_path / "ranks", tmp_path / "whole") == [None, None]
    for name in (MODEL, "stats.jsonl", f"samples/step-{STEPS:06d}.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (broken / name).read_bytes(), name


@pytest.mark.slow
def test_a_pod_that_is_told_to_leave_saves_first(tmp_path: Path) -> None:
    """SIGTERM for torchrun reaches the workers: all stop at the same step, one saves and says so, and nothing is exported."""
    launched = start(launcher(2), tmp_path, "--steps", "1000000", "--checkpoints", "20000")
    assert workers_of(launched, tmp_path)
    launched.send_signal(signal.SIGTERM)
    said = launched.communicate(timeout=60)[0]
    assert launched.returncode != 0
    (step,) = re.findall(r"stopped at step (\d+); it goes on from there when it is started again", said)
    assert max(path.name for path in tmp_path.glob("checkpoint-*.pt")) == f"checkpoint-{int(step):09d}.pt"
    assert not (tmp_path / MODEL).exists()
