"""Files that were made before the names changed still open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from contract import draw
from serving.model.load import load_model
from training.run.config import RunConfig, read_config
from training.run.context import JobContext
from training.run.job import open_run, train

OLD_RUN = Path(__file__).parents[1] / "old_run"
"""``train toy1d --steps 40``, run at commit 5236946."""


@pytest.mark.slow
def test_an_old_run_is_continued(tmp_path: Path) -> None:
    """A run directory with recipe.json and a checkpoint of that time is read, continued and exported."""
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    context = JobContext(run=run, device=torch.device("cpu"), environ=os.environ, console=Console(quiet=True))
    assert read_config(run) == RunConfig(recipe="toy1d", steps=40)
    game, _ = open_run(context)
    assert game.step == 40
    assert train(RunConfig(recipe="toy1d", steps=42), context)
    assert read_config(run).steps == 42
    assert load_model(run / "model.onnx", "cpu").card.steps == 42


def test_an_old_model_is_served() -> None:
    """A model file of that time loads, and its goldens hold."""
    model = load_model(OLD_RUN / "model.onnx", "cpu")
    assert (model.card.recipe, model.card.steps, model.goldens.latents) == ("toy1d", 40, "exact")
    assert model.sample([42]).shape == (1, 1)
    assert set(draw(model.card.latents, [42])) == {"z"}
