"""``a - b + c`` on the latents of three seeds: the same numbers on every machine.

After Radford et al. 2015 (arXiv:1511.06434, section 6.3.2), where a smiling woman less a woman plus a man is a smiling man. The
plain sum of three independent draws has three times their variance, far outside the latents that a generator is trained on. So
the weights w of the seeds (1, -1 and 1, added up for equal seeds) are divided by the root of the sum of their squares:

    x = m + sum(w_i (x_i - m)) / sqrt(sum(w_i**2))

with m the middle of the latent's range, 0 for a normal one. A sum of normal latents is then exactly standard normal again. A
uniform latent keeps its mean; values outside its range are clipped to the end of the range, which leaves nine tenths of the
variance. A class is summed as a one-hot vector and the greatest component wins, at a tie that of ``a``: the result is ``a``'s
class, or ``c``'s where ``a`` and ``b`` have the same class.

Equal seeds cancel: ``a - a + c`` is bit-equal to the draw of ``c``, ``a - b + b`` to that of ``a``. Every operation is one that
IEEE 754 rounds exactly, in a fixed order, and the result is rounded once to float32, as in ``contract.sampling``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract import Categorical, Drawn, Latents, Overrides, Uniform, draw, parameters


class VectorSum(NamedTuple):
    """The row ``a - b + c`` of three seeds."""

    a: int
    b: int
    c: int


def combine(latents: Latents, seeds: VectorSum, overrides: Overrides | None = None) -> Drawn:
    """One row of latents, ``a - b + c``.

    Args:
        latents: the declaration.
        seeds: the three seeds.
        overrides: values by parameter name, in place of the computed ones. No other component changes.

    Returns:
        As ``contract.draw``: by latent name float32 [1, size], or int64 [1] for a categorical one.

    Raises:
        DrawError: a seed or a given value is out of range, or no such parameter is declared.
    """
    weights = weigh(seeds)
    fixed = draw(latents, [seeds.a if len(weights) > 1 else next(iter(weights))], [overrides or {}])
    if len(weights) == 1:
        return fixed
    drawn = draw(latents, list(weights))
    row_of = {seed: row for row, seed in enumerate(weights)}
    summed: Drawn = {}
    for name, latent in latents.items():
        if isinstance(latent, Categorical):
            a, b, c = (drawn[name][row_of[seed]] for seed in seeds)
            summed[name] = np.array([c if a == b else a], np.int64)
        else:
            span = (latent.low, latent.high) if isinstance(latent, Uniform) else None
            summed[name] = _add(drawn[name].astype(np.float64), list(weights.values()), span)
    for parameter in (p for name, p in parameters(latents).items() if overrides and name in overrides):
        index = (0,) if parameter.is_integer else (0, parameter.component)
        summed[parameter.latent][index] = fixed[parameter.latent][index]
    return summed


def weigh(seeds: VectorSum) -> dict[int, int]:
    """The weight of each seed, in the order a, b, c, without those whose weight is 0."""
    weights: dict[int, int] = {}
    for seed, sign in zip(seeds, (1, -1, 1), strict=True):
        weights[seed] = weights.get(seed, 0) + sign
    return {seed: weight for seed, weight in weights.items() if weight}


def _add(rows: NDArray[np.float64], weights: list[int], span: tuple[float, float] | None) -> NDArray[np.float32]:
    """The scaled sum of weighted rows about the middle of the range: [n, size] to [1, size]."""
    middle = (span[0] + span[1]) / 2 if span else 0.0
    total = np.zeros(rows.shape[1])
    for row, weight in zip(rows, weights, strict=True):
        total = total + weight * (row - middle)
    scaled = middle + total / math.sqrt(sum(weight * weight for weight in weights))
    if span:
        scaled = np.clip(scaled, *span)
    single: NDArray[np.float32] = scaled.astype(np.float32)[np.newaxis]
    return single
