"""``a - b + c`` on the latents of three seeds: the same numbers on every machine.

After Radford et al. 2015 (arXiv:1511.06434, section 6.3.2), where a smiling woman less a woman plus a man is a smiling man. The
plain sum of three independent draws has three times their variance, and no generator has seen latents so far out. So the
weights w of the seeds, which are 1, -1 and 1 and are added where seeds are equal, are divided by the root of the sum of their
squares:

    x = m + sum(w_i (x_i - m)) / sqrt(sum(w_i**2))

with m the middle of the latent's range, 0 for a normal one. A sum of normal latents is then standard normal again, exactly. A
uniform latent keeps its mean; what falls outside of its range is moved to the range's end, which leaves nine tenths of the
variance. A class is summed as the vector that has 1 in its place and 0 elsewhere, and the greatest component wins, of equal
ones that of ``a``: so it is ``a``'s class, or ``c``'s where ``a`` and ``b`` have the same.

What cancels is gone: ``a - a + c`` is what ``c`` draws and ``a - b + b`` what ``a`` draws, bit for bit. Every operation is one
that IEEE 754 rounds exactly, in a fixed order, and the result is rounded once to float32, as in ``contract.sampling``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract import Categorical, Drawn, Latents, Overrides, Uniform, draw, parameters


class VectorSum(NamedTuple):
    """The place ``a - b + c`` of three seeds."""

    a: int
    b: int
    c: int


def combine(latents: Latents, seeds: VectorSum, overrides: Overrides | None = None) -> Drawn:
    """One row of latents, ``a - b + c``.

    Args:
        latents: the declaration.
        seeds: whose draws are added.
        given: values by parameter name that the row has instead. They move no other component.

    Returns:
        As ``contract.draw``: by latent name float32 [1, size], or int64 [1] for a categorical one.

    Raises:
        DrawError: a seed or a given value is out of range, or no such parameter is declared.
    """
    weights = weigh(seeds)
    held = draw(latents, [seeds.a if len(weights) > 1 else next(iter(weights))], [overrides or {}])
    if len(weights) == 1:
        return held
    drawn = draw(latents, list(weights))
    of_class = dict(zip(weights, range(len(weights)), strict=True))
    summed: Drawn = {}
    for name, latent in latents.items():
        if isinstance(latent, Categorical):
            a, b, c = (drawn[name][of_class[seed]] for seed in seeds)
            summed[name] = np.array([c if a == b else a], np.int64)
        else:
            span = (latent.low, latent.high) if isinstance(latent, Uniform) else None
            summed[name] = _add(drawn[name].astype(np.float64), list(weights.values()), span)
    for parameter in (p for name, p in parameters(latents).items() if overrides and name in overrides):
        place = (0,) if parameter.is_integer else (0, parameter.component)
        summed[parameter.latent][place] = held[parameter.latent][place]
    return summed


def weigh(seeds: VectorSum) -> dict[int, int]:
    """How often each seed is added, by seed, in the order a, b, c; those that cancel are left out."""
    weights: dict[int, int] = {}
    for seed, sign in zip(seeds, (1, -1, 1), strict=True):
        weights[seed] = weights.get(seed, 0) + sign
    return {seed: weight for seed, weight in weights.items() if weight}


def _add(rows: NDArray[np.float64], weights: list[int], span: tuple[float, float] | None) -> NDArray[np.float32]:
    """Rows [n, size] added by their weights about the middle of the range and brought to scale, [1, size]."""
    middle = (span[0] + span[1]) / 2 if span else 0.0
    total = np.zeros(rows.shape[1])
    for row, weight in zip(rows, weights, strict=True):
        total = total + weight * (row - middle)
    scaled = middle + total / math.sqrt(sum(weight * weight for weight in weights))
    if span:
        scaled = np.clip(scaled, *span)
    single: NDArray[np.float32] = scaled.astype(np.float32)[np.newaxis]
    return single
