"""Samples of a game under way: for the eye, for the alarm, and what would be exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from contract import Categorical, draw
from training.data import DataSet
from training.game import Game
from training.samplers import Sampler, sampler_for

SHEET = 64
POINTS = 1000
MOST_COLUMNS = 16


def sampler_of(game: Game, data: DataSet) -> Sampler:
    """What would be exported now; it shares the game's weights, and their present mode."""
    inner = game.recipe.sampler(game.sampling_nets())
    return sampler_for(data, inner, tuple(game.latents), game.recipe.pixels)


def sample(game: Game, data: DataSet, seeds: Sequence[int], given: Sequence[dict[str, float]] = ()) -> NDArray[Any]:
    """What the exported model would answer now for these seeds: uint8 [n,h,w,c] or float32 [n,k]."""
    drawn = draw(game.latents, seeds, given)
    sampler = sampler_of(game, data)
    with torch.no_grad(), evaluating(sampler):
        made = sampler(*(torch.from_numpy(values).to(game.device) for values in drawn.values()))
    answer: NDArray[Any] = made.cpu().numpy()
    return answer


def sample_sheet(game: Game, data: DataSet) -> NDArray[Any]:
    """Samples of fixed latents: a row a seed and a column a class where there are classes, else 64 images, or 1,000 points."""
    if not data.is_image:
        return sample(game, data, range(POINTS))
    label = game.latents.get("y")
    columns = label.classes if isinstance(label, Categorical) and label.classes <= MOST_COLUMNS else 0
    if not columns:
        return sample(game, data, range(SHEET))
    seeds = np.repeat(np.arange(columns), columns).tolist()
    return sample(game, data, seeds, [{"y": y} for _ in range(columns) for y in range(columns)])


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """In evaluation mode for a while, each module back in its own mode afterwards."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
