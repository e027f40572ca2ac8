"""A killed run that is started again ends as if it had never stopped."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.conftest import differences, tiny_config, train_in_process, train_tiny
from training.run.checkpoint import load_newest
from training.run.job import MODEL

STEPS = 12


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(("name", "gate"), [("cdcgan_r1", "worse-only"), ("parabola", None), ("several_generators", None)])
def test_twelve_steps_equal_six_a_kill_and_six_more(name: str, gate: str | None, picture_folder: Path, tmp_path: Path) -> None:
    """Weights, optimisers, averages, counters, records, samples and the exported file are the same, bit for bit.

    Every recipe is resumed from a copied run directory in ``test_every_recipe.py``; here SIGKILL comes at any moment.
    """
    config = replace(tiny_config(name, picture_folder, steps=STEPS), gate=gate)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_tiny(config, whole)
    assert train_in_process(config, broken, kill_after=STEPS // 2) == -signal.SIGKILL
    assert not (broken / MODEL).exists()
    assert train_in_process(config, broken) == 0

    states = [load_newest(run, device=torch.device("cpu"))[0] for run in (whole, broken)]
    assert states[0] is not None
    assert states[0]["step"] == STEPS
    assert differences(states[0], states[1]) == []
    for name in (MODEL, "stats.jsonl", "samples.webp", f"samples/step-{STEPS:06d}.png"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
