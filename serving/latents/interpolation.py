"""The way from one seed to another: latents between those of two seeds, the same numbers on every machine.

Normal latents go along a great circle (White 2016, arXiv:1609.04468, section 2.1): between two points of a high-dimensional
normal distribution the straight line passes much nearer to the origin than any sample lies, and shows blurs. Uniform latents go
straight. A categorical latent has nothing between its values: on the first half of the way it has the first seed's value, from
there on the second's, unless the value is given. Both ends are exactly what their seeds draw.

As in ``contract.sampling`` every operation is one that IEEE 754 rounds exactly (+ - * / sqrt, and sums by ``math.fsum``), and
the result is rounded once to float32: no library's sine or dot product can change a bit. A row depends on its two seeds, its
place and the given values alone.
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
"""Sine of the angle below which no great circle is told apart from another: there the way is straight."""

Doubles = NDArray[np.float64]


class Interpolation(NamedTuple):
    """A place between two seeds."""

    a: int
    b: int
    t: float
    """0 (what ``a`` draws) to 1 (what ``b`` draws)."""


SeedOrInterpolation = int | Interpolation
"""What a row is made from: a seed, or a place between two."""


def draw_sources(latents: Latents, sources: Sequence[SeedOrInterpolation], overrides: Sequence[Overrides] = ()) -> Drawn:
    """The latents of seeds and of places between seeds, one row each, side by side in one batch.

    Args:
        latents: the declaration.
        sources: n seeds or places.
        given: nothing, or n mappings from parameter name to the value that the row has instead.

    Returns:
        As ``contract.draw``; a row is the same whatever stands beside it.

    Raises:
        DrawError: a seed, a place or a given value is out of range, or no such parameter is declared.
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
            places = [sources[row].t for row in chosen]  # type: ignore[union-attr]
            parts.append(between(latents, *ends[:2], places, fixed[chosen[0]]))
    return {name: np.concatenate([part[name] for part in parts]) for name in latents}


def _ends(source: SeedOrInterpolation, overrides: Overrides) -> tuple[int, int, tuple[tuple[str, float], ...]] | None:
    """What rows of one way have in common; None for a seed."""
    return (source.a, source.b, tuple(overrides.items())) if isinstance(source, Interpolation) else None


def frame_places(frames: int) -> list[float]:
    """The places on the way, 0 to 1, evenly apart, of two frames or more.

    Raises:
        DrawError: there are fewer than two.
    """
    if frames < 2:
        raise DrawError(f"frames must be 2 or more, got {frames!r}")
    return [frame / (frames - 1) for frame in range(frames)]


def between(latents: Latents, a: int, b: int, places: Sequence[float], overrides: Overrides | None = None) -> Drawn:
    """Latents on the way from seed ``a`` to seed ``b``, one row a place.

    Args:
        latents: the declaration.
        a: the seed of place 0.
        b: the seed of place 1.
        places: n numbers 0..1.
        given: values by parameter name that every row has instead. They move no other component.

    Returns:
        As ``contract.draw``: by latent name float32 [n, size], or int64 [n] for a categorical one.

    Raises:
        DrawError: a seed, a place or a given value is out of range, or no such parameter is declared.
    """
    wrong = [t for t in places if not 0 <= t <= 1]
    if wrong:
        raise DrawError(f"t must be 0..1, got {wrong[0]!r}")
    held = draw(latents, [a], [overrides or {}])
    ends = draw(latents, [a, b])
    drawn: Drawn = {name: _interpolate(latent, ends[name], places) for name, latent in latents.items()}
    for parameter in (p for name, p in parameters(latents).items() if overrides and name in overrides):
        place = () if parameter.is_integer else (parameter.component,)
        drawn[parameter.latent][(slice(None), *place)] = held[parameter.latent][(0, *place)]
    return drawn


def _interpolate(
    latent: Latent, ends: NDArray[np.float32] | NDArray[np.int64], places: Sequence[float]
) -> NDArray[np.float32] | NDArray[np.int64]:
    """Rows between two: [2, ...] and n places to [n, ...]."""
    if isinstance(latent, Categorical):
        return ends[[0 if t < 0.5 else 1 for t in places]]
    a, b = ends.astype(np.float64)
    angle = angle_between(a, b) if isinstance(latent, Normal) else 0.0
    weights = np.array([_weights(t, angle) for t in places], np.float64).reshape(-1, 2)
    rows: NDArray[np.float32] = (weights[:, :1] * a + weights[:, 1:] * b).astype(np.float32)
    return rows


def _weights(t: float, angle: float) -> tuple[float, float]:
    """How much of each end a row holds; 1 and 0, exactly, at the ends."""
    whole = sine(angle)
    if t in (0, 1) or whole < NO_ANGLE:
        return 1.0 - t, float(t)
    return sine((1.0 - t) * angle) / whole, sine(t * angle) / whole


def angle_between(a: Doubles, b: Doubles) -> float:
    """The angle of two vectors in radians, 0..pi, well rounded also for nearly parallel ones (Kahan 2006); 0 if one is zero."""
    sizes = _norm(a), _norm(b)
    if 0.0 in sizes:
        return 0.0
    u, v = a / sizes[0], b / sizes[1]
    apart, along = _norm(u - v), _norm(u + v)
    if apart <= along:
        return 2.0 * _arctangent(apart / along)
    return math.pi - 2.0 * _arctangent(along / apart)


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
