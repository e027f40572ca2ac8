"""Samples of a game under way: for the eye, for the alarm, and what would be exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from contract import Categorical, Latent, Normal, Parameter, draw, parameters
from training.data import DataSet
from training.export.samplers import Sampler, sampler_for
from training.game.loop import Game

SHEET = 64
POINTS = 1000
MOST_COLUMNS = 16
TRAVERSED = 10
"""Rows and columns of a traversal where no class says how many."""


def sampler_of(game: Game, data: DataSet) -> Sampler:
    """What would be exported now; it shares the game's weights, and their present mode."""
    inner = game.recipe.sampler(game.sampling_nets())
    return sampler_for(data, inner, tuple(game.latents), game.recipe.pixels)


def sample_game(game: Game, data: DataSet, seeds: Sequence[int], overrides: Sequence[dict[str, float]] = ()) -> NDArray[Any]:
    """What the exported model would answer now for these seeds: uint8 [n,h,w,c] or float32 [n,k]."""
    drawn = draw(game.latents, seeds, overrides)
    sampler = sampler_of(game, data)
    with torch.no_grad(), evaluating(sampler):
        made = sampler(*(torch.from_numpy(values).to(game.device) for values in drawn.values()))
    answer: NDArray[Any] = made.cpu().numpy()
    return answer


def make_sample_grid(game: Game, data: DataSet) -> NDArray[Any]:
    """Samples of fixed latents: a row a seed and a column a class where there are classes, else 64 images, or 1,000 points."""
    if not data.is_image:
        return sample_game(game, data, range(POINTS))
    columns = _classes(game)
    if not columns:
        return sample_game(game, data, range(SHEET))
    seeds = np.repeat(np.arange(columns), columns).tolist()
    return sample_game(game, data, seeds, [{"y": y} for _ in range(columns) for y in range(columns)])


def traversals(game: Game, data: DataSet) -> dict[str, NDArray[Any]]:
    """Images [n * n,h,w,c] along each continuous parameter of the latents, by its name; none where samples are points.

    A row is a seed, and a value of ``y`` where there is one; a column a value from the least to the greatest (of a normal
    latent -2 to 2) with the other parameters in the middle: Chen et al. 2016, arXiv:1606.03657, figure 2.
    """
    if not data.is_image:
        return {}
    spans = {p.name: _span(p, game.latents[p.latent]) for p in parameters(game.latents).values() if not p.is_integer}
    middle = {name: (low + high) / 2 for name, (low, high) in spans.items()}
    classes = _classes(game)
    rows = [(seed, {**middle, **({"y": seed} if classes else {})}) for seed in range(classes or TRAVERSED)]
    return {name: _along(game, data, rows, name, span) for name, span in spans.items()}


def _along(
    game: Game, data: DataSet, rows: list[tuple[int, dict[str, float]]], name: str, span: tuple[float, float]
) -> NDArray[Any]:
    values = np.linspace(*span, len(rows)).tolist()
    places = [(seed, {**fixed, name: value}) for seed, fixed in rows for value in values]
    return sample_game(game, data, [seed for seed, _ in places], [overrides for _, overrides in places])


def _span(parameter: Parameter, latent: Latent) -> tuple[float, float]:
    return (-2.0, 2.0) if isinstance(latent, Normal) else (parameter.low, parameter.high)


def _classes(game: Game) -> int:
    """How many values ``y`` has, if it is one of few; else 0."""
    label = game.latents.get("y")
    return label.classes if isinstance(label, Categorical) and label.classes <= MOST_COLUMNS else 0


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
