"""Settings that glide from one value to another over the first part of a game."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cosine:
    """From ``start`` to ``end`` along half a wave of the cosine over ``over`` steps, then ``end``: brownvc/R3GAN."""

    start: float
    end: float
    over: int

    def __call__(self, step: int) -> float:
        """The value at that step."""
        left = (1 + math.cos(math.pi * min(step, self.over) / self.over)) / 2
        return self.end + left * (self.start - self.end)


@dataclass(frozen=True)
class HalfLife:
    """An average's decay from its half-life in images: a weight counts half after so many; Karras et al., arXiv:1912.04958."""

    images: Callable[[int], float]
    """Half-life at a step; 0 keeps nothing of the past."""
    batch: int
    """Images a step."""

    def __call__(self, step: int) -> float:
        """The decay of that step."""
        images = self.images(step)
        return 0.5 ** (self.batch / images) if images > 0 else 0.0


@dataclass(frozen=True)
class AdamTune:
    """A player's ``tune``: rate and beta2 as functions of the step, beta1 as it is."""

    rate: Callable[[int], float]
    beta1: float
    beta2: Callable[[int], float]

    def __call__(self, step: int, steps: int) -> dict[str, float | tuple[float, float]]:
        """Adam's settings for the step after ``step``; ``steps`` does not matter."""
        return {"lr": self.rate(step), "betas": (self.beta1, self.beta2(step))}
