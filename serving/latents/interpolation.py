"""Interpolation between the latents of two seeds: the same numbers on every machine.

Normal latents are interpolated along a great circle (White 2016, arXiv:1609.04468, section 2.1): the straight line between two
points of a high-dimensional normal distribution passes much nearer to the origin than any sample lies, and gives blurs. Uniform
latents are interpolated linearly. A categorical latent has the first seed's value for t < 0.5 and the second's from there on,
unless its value is fixed. Both ends are exactly what their seeds draw.

As in ``contract.sampling`` every operation is one that IEEE 754 rounds exactly (+ - * / sqrt, and sums by ``math.fsum``), and
the result is rounded once to float32: no library's sine or dot product can change a bit. A row depends only on its two seeds,
its position and the fixed values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract import Categorical, DrawError, Drawn, Latent, Latents, Normal, Overrides, draw, parameters

NO_ANGLE = 1e-6
"""Sine of the angle below which the great circle is not determined numerically; the interpolation is then linear."""

Doubles = NDArray[np.float64]


class Interpolation(NamedTuple):
    """A position between two seeds."""

    a: int
    b: int
    t: float
    """Position, 0 (what ``a`` draws) to 1 (what ``b`` draws)."""


SeedOrInterpolation = int | Interpolation
"""The source of a row: a seed, or a position between two."""


def draw_sources(latents: Latents, sources: Sequence[SeedOrInterpolation], overrides: Sequence[Overrides] = ()) -> Drawn:
    """The latents of seeds and of interpolations, one row each, in one batch.

    Args:
        latents: the declaration.
        sources: n seeds or interpolations.
        overrides: empty, or n mappings from parameter name to the value that replaces the computed one.

    Returns:
        As ``contract.draw``. A row does not depend on the other rows.

    Raises:
        DrawError: a seed, a position or a fixed value is out of range, or no such parameter is declared.
    """
    if Interpolation not in set(map(type, sources)):
        return draw(latents, sources, overrides)  # type: ignore[arg-type]
    fixed = overrides or [{}] * len(sources)
    parts: list[Drawn] = []
    for ends, rows in groupby(range(len(sources)), key=lambda row: _ends(sources[row], fixed[row])):
        chosen = list(rows)
        if ends is None:
            parts.append(draw(latents, [sources[row] for row in chosen], [fixed[row] for row in chosen]))  # type: ignore[misc]
        else:
            positions = [sources[row].t for row in chosen]  # type: ignore[union-attr]
            parts.append(between(latents, *ends[:2], positions, fixed[chosen[0]]))
    return {name: np.concatenate([part[name] for part in parts]) for name in latents}


def _ends(source: SeedOrInterpolation, overrides: Overrides) -> tuple[int, int, tuple[tuple[str, float], ...]] | None:
    """The key by which neighbouring rows are computed together: both seeds and the overrides; None for a seed."""
    return (source.a, source.b, tuple(overrides.items())) if isinstance(source, Interpolation) else None


def frame_positions(frames: int) -> list[float]:
    """The positions of two or more frames, evenly spaced from 0 to 1.

    Raises:
        DrawError: there are fewer than two.
    """
    if frames < 2:
        raise DrawError(f"frames must be 2 or more, got {frames!r}")
    return [frame / (frames - 1) for frame in range(frames)]


def between(latents: Latents, a: int, b: int, positions: Sequence[float], overrides: Overrides | None = None) -> Drawn:
    """Latents between seed ``a`` and seed ``b``, one row for each position.

    Args:
        latents: the declaration.
        a: the seed at position 0.
        b: the seed at position 1.
        positions: n numbers 0..1.
        overrides: values by parameter name, in place of the computed ones in every row. No other component changes.

    Returns:
        As ``contract.draw``: by latent name float32 [n, size], or int64 [n] for a categorical one.

    Raises:
        DrawError: a seed, a position or a fixed value is out of range, or no such parameter is declared.
    """
    wrong = [t for t in positions if not 0 <= t <= 1]
    if wrong:
        raise DrawError(f"t must be 0..1, got {wrong[0]!r}")
    fixed = draw(latents, [a], [overrides or {}])
    ends = draw(latents, [a, b])
    drawn: Drawn = {name: _interpolate(latent, ends[name], positions) for name, latent in latents.items()}
    for parameter in (p for name, p in parameters(latents).items() if overrides and name in overrides):
        index = () if parameter.is_integer else (parameter.component,)
        drawn[parameter.latent][(slice(None), *index)] = fixed[parameter.latent][(0, *index)]
    return drawn


def _interpolate(
    latent: Latent, ends: NDArray[np.float32] | NDArray[np.int64], positions: Sequence[float]
) -> NDArray[np.float32] | NDArray[np.int64]:
    """Interpolated rows: [2, ...] and n positions to [n, ...]."""
    if isinstance(latent, Categorical):
        return ends[[0 if t < 0.5 else 1 for t in positions]]
    a, b = ends.astype(np.float64)
    angle = angle_between(a, b) if isinstance(latent, Normal) else 0.0
    weights = np.array([_weights(t, angle) for t in positions], np.float64).reshape(-1, 2)
    rows: NDArray[np.float32] = (weights[:, :1] * a + weights[:, 1:] * b).astype(np.float32)
    return rows


def _weights(t: float, angle: float) -> tuple[float, float]:
    """The weights of both ends; exactly 1 and 0 at the ends."""
    denominator = sine(angle)
    if t in (0, 1) or denominator < NO_ANGLE:
        return 1.0 - t, float(t)
    return sine((1.0 - t) * angle) / denominator, sine(t * angle) / denominator


def angle_between(a: Doubles, b: Doubles) -> float:
    """The angle of two vectors in radians, 0..pi, accurate also for nearly parallel ones (Kahan 2006); 0 if one is zero."""
    norms = _norm(a), _norm(b)
    if 0.0 in norms:
        return 0.0
    u, v = a / norms[0], b / norms[1]
    difference, total = _norm(u - v), _norm(u + v)
    if difference <= total:
        return 2.0 * _arctangent(difference / total)
    return math.pi - 2.0 * _arctangent(total / difference)


def _norm(vector: Doubles) -> float:
    return math.sqrt(math.fsum((vector * vector).tolist()))


def sine(x: float) -> float:
    """The sine of 0..pi, by its series on 0..pi/2."""
    x = min(x, math.pi - x)
    return x * _polynomial(_SINE, x * x)


def _arctangent(x: float) -> float:
    """The arctangent of 0..1: halved twice, to 0..tan(pi/16), then by its series."""
    for _ in range(2):
        x = x / (1.0 + math.sqrt(1.0 + x * x))
    return 4.0 * x * _polynomial(_ARCTANGENT, x * x)


def _polynomial(coefficients: Sequence[float], x: float) -> float:
    """A polynomial, the highest coefficient first."""
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


_SINE = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(12, -1, -1))
_ARCTANGENT = tuple((-1) ** k / (2 * k + 1) for k in range(12, -1, -1))
