"""Data and recipe that have changed under a run are noticed when it goes on."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.training.conftest import quick_classifiers, tiny_context
from training.errors import TrainingError
from training.files import CONFIG
from training.game.optimisers import adam
from training.game.schedules import simultaneous
from training.recipes import CATALOGUE
from training.run.config import RunConfig
from training.run.job import open_run, train


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_other_data_under_a_run_are_noticed(tmp_path: Path) -> None:
    """More pictures are said, also at an export; other classes are refused, as a model's card would name them wrongly."""
    pictures, run = tmp_path / "pictures", tmp_path / "run"

    def put(name: str) -> None:
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (16, 16), np.uint8)).save(pictures / name)

    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png", "b/3.png"):
        put(name)
    said = io.StringIO()
    context = replace(tiny_context(run), console=Console(file=said, width=200))
    config = RunConfig(recipe="cdcgan_r1", data=f"folder:{pictures}", size=8, steps=1, batch=4)
    with quick_classifiers():
        assert train(config, context)
        put("b/4.png")
        assert train(replace(config, steps=2), context)
        assert "folder:pictures has 6 samples now; the steps before were trained on 5" in said.getvalue()
        put("c/1.png")
        message = r"was trained on data of the classes \['a', 'b'\], and folder:pictures has the classes \['a', 'b', 'c'\] now"
        with pytest.raises(TrainingError, match=message):
            train(replace(config, steps=3), context)
        with pytest.raises(TrainingError, match=message):
            open_run(context)
        assert train(replace(config, steps=1), context, is_fresh=True)
        path = run / CONFIG
        path.write_text(path.read_text().replace('"samples": 7', '"samples": "many"'))
        with pytest.raises(TrainingError, match=r"config\.json is damaged: samples must be a number, got 'many'"):
            open_run(context)


@pytest.mark.usefixtures("no_export")
def test_a_recipe_that_has_changed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on under a newer program is from there on another game; more steps are no change."""
    said = io.StringIO()
    context = replace(tiny_context(tmp_path), console=Console(file=said, width=200))
    for steps in (1, 2):
        assert train(RunConfig(recipe="toy1d", steps=steps, batch=8), context)
    assert "has changed" not in said.getvalue()
    before = CATALOGUE["toy1d"]
    first, *others = before.players
    players = (replace(first, optimiser=adam(3e-4)), *others)
    monkeypatch.setitem(CATALOGUE, "toy1d", replace(before, schedule=simultaneous(), players=players))
    assert train(RunConfig(recipe="toy1d", steps=3, batch=8), context)
    assert (
        f"the recipe toy1d has changed since this run was trained: players.0.optimiser was {first.optimiser} and is "
        f"{adam(3e-4)}; schedule was {before.schedule} and is simultaneous\ngoing on from step 2 of 3" in said.getvalue()
    )
    assert train(RunConfig(recipe="toy1d", steps=4, batch=8), context)
    assert said.getvalue().count("has changed") == 1
