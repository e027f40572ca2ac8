"""Points drawn from distributions that are known, so that a game's outcome can be measured against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray

from training.data.dataset import DataSet, Request

Points = NDArray[np.float64]

MEAN, DEVIATION = 4.0, 0.5
"""Of the Gaussian on a line."""
SEEDS = {"train": 1, "test": 2}
"""The generator's seed of each part."""


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A distribution, and how many points of it make a data set."""

    name: str
    """The data set's name."""
    draw: Callable[[RandomState, int], Points]
    """A generator and a count n → points [n,k]."""
    low: tuple[float, ...]
    """Per component, where a plot begins."""
    high: tuple[float, ...]
    """Per component, where a plot ends."""
    count: int = 2**17
    """How many points."""
    modes: tuple[tuple[float, ...], ...] | None = None
    """A mixture's centres."""
    mode_sd: float | None = None
    """A mixture's standard deviation around each centre."""


def _gaussian1d(random: RandomState, n: int) -> Points:
    return MEAN + DEVIATION * random.standard_normal((n, 1))


def _parabola(random: RandomState, n: int) -> Points:
    x = 100 * (random.random_sample(n) - 0.5)
    return np.stack((x, 10 + x**2), axis=1)


def _parabola_norm(random: RandomState, n: int) -> Points:
    return (_parabola(random, n) - (0, 1260)) / (50, 1250)


def _mixture(name: str, modes: tuple[tuple[float, ...], ...], sd: float, edge: float) -> Toy:
    """100,000 points [n,2], each around a centre chosen evenly, as in PacGAN's experiments (arXiv:1712.04086, section 4.1)."""

    def draw(random: RandomState, n: int) -> Points:
        centres = np.asarray(modes)[random.randint(len(modes), size=n)]
        return np.asarray(centres + sd * random.standard_normal((n, 2)))

    return Toy(name=name, draw=draw, low=(-edge, -edge), high=(edge, edge), count=100_000, modes=modes, mode_sd=sd)


_RING = tuple((math.cos(2 * math.pi * i / 8), math.sin(2 * math.pi * i / 8)) for i in range(8))
_GRID = tuple((float(x), float(y)) for x in range(-4, 5, 2) for y in range(-4, 5, 2))

GAUSSIAN1D = Toy(name="gaussian1d", draw=_gaussian1d, low=(0.0,), high=(8.0,))
PARABOLA = Toy(name="parabola", draw=_parabola, low=(-60.0, -100.0), high=(60.0, 2700.0))
PARABOLA_NORM = Toy(name="parabola-norm", draw=_parabola_norm, low=(-1.2, -1.2), high=(1.2, 1.2))
RING8 = _mixture("ring8", _RING, sd=0.01, edge=1.5)
GRID25 = _mixture("grid25", _GRID, sd=0.05, edge=5.0)


def load_toy(toy: Toy, request: Request) -> DataSet:
    """The toy's points, float32 [N,k]: the same on every machine, and others to train on than to test on."""
    # RandomState, not Generator: of the two, it is the one whose distributions NumPy has frozen for good.
    points = toy.draw(RandomState(SEEDS[request.split]), toy.count)
    return DataSet(
        name=toy.name,
        items=torch.from_numpy(points.astype(np.float32)),
        labels=None,
        classes=(),
        licence="none: computed",
        region=(toy.low, toy.high),
        modes=None if toy.modes is None else torch.tensor(toy.modes, dtype=torch.float32),
        mode_sd=toy.mode_sd,
    )
