"""Digits turned by a model: what is asked of it, and where the figures are kept."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks.scoreboard.turned import TURNED, Turned, at_age
from tests.training.conftest import train_tiny
from training.recipes.caae import AGES, rotate
from training.run.config import RunConfig
from training.run.job import MODEL


def test_images_are_turned_as_in_training() -> None:
    """The recipe's own turning, to a level of 256; what comes in at the corners is black."""
    torch.manual_seed(0)
    items = torch.randint(256, (AGES, 1, 28, 28), dtype=torch.uint8)
    ages = torch.arange(AGES)
    turned = at_age(items, ages)
    assert turned.dtype == torch.uint8
    expected = (rotate(items / 127.5 - 1, ages) + 1) * 127.5
    assert (turned - expected).abs().max() <= 0.51
    assert (turned[2, 0, :3, :3] == 0).all()  # by 45 degrees


@pytest.mark.slow
def test_figures_are_made_once_for_a_model_a_count_and_classifiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rows read one file; for more images, other classifiers or another model it is written anew."""
    for seed in (0, 1):
        train_tiny(RunConfig(recipe="caae_small", data="digits", steps=1, batch=8, seed=seed), tmp_path / str(seed))
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["TEST_CACHE"])
    run, path = tmp_path / "0", tmp_path / "0" / TURNED
    measure = Turned(name="digit-kept", images=4, data="digits")
    first = measure.read(run)
    assert (first.samples, first.others["digit-kept"]) == (4, first.value)
    content = json.loads(path.read_text())
    assert first.classifier == content["classifiers"]["digit-kept"]
    marked = {**content, "values": dict.fromkeys(content["values"], 0.5)}

    def is_kept(measure: Turned, kept: dict[str, object]) -> bool:
        path.write_text(json.dumps(kept))
        return measure.read(run).others == marked["values"]

    assert is_kept(measure, marked)
    assert is_kept(dataclasses.replace(measure, name="age-read"), marked)
    assert not is_kept(dataclasses.replace(measure, images=3), marked)
    assert not is_kept(measure, {**marked, "classifiers": {**content["classifiers"], "age-read": "lenet@000000"}})
    assert not is_kept(measure, marked["values"])  # as the file was without its key
    shutil.copy(tmp_path / "1" / MODEL, run / MODEL)
    assert not is_kept(measure, marked)
