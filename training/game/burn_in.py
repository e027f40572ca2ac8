"""Hyperparameters that change over the first part of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cosine:
    """From ``start`` to ``end`` along half a cosine over ``over`` steps, then ``end``: brownvc/R3GAN."""

    start: float
    end: float
    over: int

    def __call__(self, step: int) -> float:
        """The value at that step."""
        left = (1 + math.cos(math.pi * min(step, self.over) / self.over)) / 2
        return self.end + left * (self.start - self.end)


@dataclass(frozen=True)
class HalfLife:
    """An average's decay from its half-life in images: Karras et al., arXiv:1912.04958."""

    images: Callable[[int], float]
    """Half-life at a step; 0 means the average is the net itself."""
    batch: int
    """Images a step."""

    def __call__(self, step: int) -> float:
        """The decay of that step."""
        images = self.images(step)
        return 0.5 ** (self.batch / images) if images > 0 else 0.0


@dataclass(frozen=True)
class AdamSchedule:
    """A player's ``hyperparameters``: rate and beta2 as functions of the step, beta1 constant."""

    rate: Callable[[int], float]
    beta1: float
    beta2: Callable[[int], float]

    def __call__(self, step: int, steps: int) -> dict[str, float | tuple[float, float]]:
        """Adam's settings for the step after ``step``; ``steps`` is not used."""
        return {"lr": self.rate(step), "betas": (self.beta1, self.beta2(step))}
