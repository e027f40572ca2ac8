"""Samples of a game under way: for the eye, for the alarm, and what would be exported."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from contract import Inputs, Latent, Normal, Parameter, Picture, draw, parameters, picture_inputs
from contract.latents import classes_of
from contract.pictures import HAS_PICTURE, PICTURE
from training.data import DataSet
from training.data.pixels import to_levels
from training.export.samplers import Sampler, sampler_for
from training.game.loop import Game
from training.game.recipe import Recipe

SHEET, LEAST_SHEET = 64, 8
MOST_PIXELS = 64 * 256 * 256
"""Of a sample grid: 64 images of 256x256, or 16 of 512x512."""
POINTS = 1000
MOST_VALUES = 1000 * 32 * 32 * 3
"""Values of samples that are computed at once: a thousand of 32x32 in colour, 62 of 128x128."""
MOST_COLUMNS = 16
TRAVERSED = 10
"""Rows and columns of a traversal where no class says how many."""


def sampler_of(game: Game, data: DataSet) -> Sampler:
    """What would be exported now; it shares the game's weights, and their present mode."""
    inner = game.recipe.sampler(game.sampling_nets())
    picture = () if game.recipe.picture is None else (PICTURE, HAS_PICTURE) if game.recipe.is_picture_optional else (PICTURE,)
    return sampler_for(data, inner, (*game.latents, *picture), game.recipe.pixels)


def sample_game(game: Game, data: DataSet, seeds: Sequence[int], overrides: Sequence[dict[str, float]] = ()) -> NDArray[Any]:
    """What the exported model would answer now for the inputs of ``sample_inputs``: uint8 [n,h,w,c] or float32 [n,k]."""
    inputs = sample_inputs(game, data, seeds, overrides)
    sampler, rows = sampler_of(game, data), max(1, MOST_VALUES // math.prod(data.shape))
    parts: list[NDArray[Any]] = []
    with torch.no_grad(), evaluating(sampler):
        for start in range(0, len(seeds), rows):
            given = (torch.from_numpy(values[start : start + rows]).to(game.device) for values in inputs.values())
            parts.append(sampler(*given).cpu().numpy())
    return np.concatenate(parts)


def sample_inputs(game: Game, data: DataSet, seeds: Sequence[int], overrides: Sequence[dict[str, float]] = ()) -> Inputs:
    """The graph's inputs for these seeds: the latents, and where a picture is needed that of training image i at index i."""
    drawn = draw(game.latents, seeds, overrides)
    picture = picture_of(game.recipe, data)
    if picture is None:
        return drawn
    pictures = [None] * len(seeds) if picture.is_optional else list(pictures_of(game, len(seeds)))
    return {**drawn, **picture_inputs(picture, pictures)}


def picture_of(recipe: Recipe, data: DataSet) -> Picture | None:
    """The declaration of the picture that the exported model takes; None for a recipe without one."""
    if recipe.picture is None:
        return None
    channels, height, width = data.shape
    return Picture(height, width, channels, recipe.is_picture_optional)


def pictures_of(game: Game, count: int) -> NDArray[np.uint8]:
    """Pictures of the first training images, uint8 [count,h,w,c], the images repeated where there are too few."""
    assert game.recipe.picture is not None
    real = game.batches.rows(torch.arange(count, device=game.device) % len(game.batches))
    x = game.recipe.picture(real.x)
    pixels: NDArray[np.uint8] = (
        to_levels(x, game.recipe.pixels).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    )
    return pixels


def make_sample_grid(game: Game, data: DataSet) -> NDArray[Any]:
    """Samples of fixed latents: a row a seed and a column a class where there are classes, else 64 images, or 1,000 points.

    Where a picture is needed, each of 32 pictures, and after it what becomes of it. Of images above 256x256 there are fewer.
    """
    if not data.is_image:
        return sample_game(game, data, range(POINTS))
    affordable = MOST_PIXELS // math.prod(data.shape[1:])
    count = min(SHEET, max(LEAST_SHEET, affordable))
    if game.recipe.needs_picture:
        pairs = np.stack([pictures_of(game, count // 2), sample_game(game, data, range(count // 2))], 1)
        return pairs.reshape(-1, *pairs.shape[2:])
    columns = _classes(game)
    if not columns:
        return sample_game(game, data, range(count))
    rows = min(columns, max(1, affordable // columns))
    seeds = np.repeat(np.arange(rows), columns).tolist()
    return sample_game(game, data, seeds, [{"y": y} for _ in range(rows) for y in range(columns)])


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
    count = classes_of(game.latents)
    return count if count <= MOST_COLUMNS else 0


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
