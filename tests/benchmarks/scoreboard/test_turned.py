"""Digits turned by a model: what is asked of it, and where the figures are kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from benchmarks.scoreboard.turned import TURNED, Turned, at_age
from training.recipes.caae import AGES, rotate
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


def test_figures_of_a_model_are_made_once(tmp_path: Path) -> None:
    """Both rows read one file, as long as it is not older than the model."""
    (tmp_path / MODEL).write_bytes(b"")
    values = {"age-read": 0.5, "age-read-real": 0.9, "digit-kept": 0.25, "digit-kept-real": 0.75}
    (tmp_path / TURNED).write_text(json.dumps(values))
    os.utime(tmp_path / MODEL, (1, 1))
    measurement = Turned(name="digit-kept").read(tmp_path)
    assert (measurement.value, measurement.real, measurement.others) == (0.25, 0.75, values)
