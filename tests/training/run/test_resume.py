"""A killed run that is started again ends as if it had never stopped."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import PROCESSES, REHEARSED, tiny_config, tiny_context
from training.recipes import CATALOGUE
from training.run.checkpoint import load_newest
from training.run.config import RunConfig
from training.run.job import MODEL, train

MOST_MOVES = 300
GATED = [(name, None) for name in REHEARSED] + [("cdcgan_r1", "worse-only")]


def _train(config: RunConfig, run: Path) -> None:
    torch.set_num_threads(1)
    train(config, tiny_context(run))


def _train_in_process(config: RunConfig, run: Path, *, kill_after: int | None = None) -> int:
    """Train in a process of its own; ``kill_after`` sends it SIGKILL once that step's checkpoint is there."""
    process = PROCESSES.Process(target=_train, args=(config, run))
    process.start()
    while kill_after is not None and process.is_alive():
        steps = [int(path.stem.split("-")[1]) for path in run.glob("checkpoint-*.pt")]
        if max(steps, default=0) >= kill_after:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    if isinstance(a, dict):
        return [d for key in {**a, **b} for d in _differences(a.get(key), b.get(key), f"{path}.{key}")]
    if isinstance(a, list | tuple):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in _differences(x, y, f"{path}.{i}")]
    is_equal = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if is_equal else [path]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gate"), GATED)
def test_twelve_steps_equal_six_a_kill_and_six_more(name: str, gate: str | None, picture_folder: Path, tmp_path: Path) -> None:
    """Weights, optimisers, averages, counters, records, samples and the exported file are the same, bit for bit.

    Two steps, a kill between them, where twelve are more than 300 moves: WGAN's critic moves a hundred times a step at first.
    """
    steps = 12 if sum(len(CATALOGUE[name].schedule.updates(step)) for step in range(12)) <= MOST_MOVES else 2
    config = RunConfig(**{**vars(tiny_config(name, picture_folder, steps=steps)), "gate": gate})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = PROCESSES.Process(target=_train, args=(config, whole))  # in parallel: it is half of the time of this test
    unbroken.start()
    assert _train_in_process(config, broken, kill_after=steps // 2) == -signal.SIGKILL
    assert not (broken / MODEL).exists()
    assert _train_in_process(config, broken) == 0
    unbroken.join()
    assert unbroken.exitcode == 0

    states = [load_newest(run, device=torch.device("cpu"))[0] for run in (whole, broken)]
    assert states[0] is not None
    assert states[0]["step"] == steps
    assert _differences(states[0], states[1]) == []
    for name in (MODEL, "stats.jsonl", "samples.webp", f"samples/step-{steps:06d}.png"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
