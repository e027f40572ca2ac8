"""Pictures along the parameters of the latents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from contract import Categorical, Latent, Normal, Uniform
from tests.training.conftest import tiny_context
from training.export.sample_grid import traversals
from training.game.recipe import Nets
from training.recipes import CATALOGUE
from training.run.config import RunConfig
from training.run.job import set_up


class Shown(nn.Module):
    """An image of one pixel: c0 in [-1,1] or b's in [-2,2] as its level, less y hundredths."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, y: Tensor, c: Tensor, b: Tensor) -> Tensor:
        return (self.weight * c.sum(1) / 2 + b[:, 0] / 4 - y / 100)[:, None, None, None].expand(-1, 1, 8, 8)


def nets(shape: tuple[int, ...], latents: object) -> Nets:
    return {"G": Shown(), "D": nn.Linear(1, 1)}


def test_each_continuous_parameter_has_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a class, a column a value from least to greatest, the other parameters in the middle; y has none of its own."""
    latents: dict[str, Latent] = {"y": Categorical(3), "c": Uniform(2), "b": Normal(1)}
    recipe = replace(CATALOGUE["dcgan"], latents=lambda classes: latents, nets=nets, data="digits", size=None)
    monkeypatch.setitem(CATALOGUE, "shown", replace(recipe, name="shown"))
    game, data = set_up(RunConfig(recipe="shown", batch=8), tiny_context(tmp_path))
    sheets = traversals(game, data)
    assert list(sheets) == ["c0", "c1", "b"]
    for images in sheets.values():
        assert images.shape == (9, 8, 8, 1)
        levels = images[:, 0, 0, 0].reshape(3, 3) / 127.5 - 1
        assert np.allclose(levels, np.array([-0.5, 0, 0.5]) - np.array([[0], [0.01], [0.02]]), atol=0.01)


def test_points_have_none(tmp_path: Path) -> None:
    """A toy game's latents are parameters too, and its samples no pictures."""
    game, data = set_up(RunConfig(recipe="parabola", batch=8), tiny_context(tmp_path))
    assert traversals(game, data) == {}
