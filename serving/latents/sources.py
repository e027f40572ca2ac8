"""Draw the latents of any mix of row sources in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contract import Drawn, Latents, Overrides
from serving.latents import interpolation
from serving.latents.arithmetic import VectorSum, combine


class GivenLatents(NamedTuple):
    """A row some or all of whose latents the request gives; the seed draws the others."""

    seed: int
    latents: Mapping[str, Any]
    """By latent name float32 [size], or one int64; in range."""


SeedSource = interpolation.SeedOrInterpolation | VectorSum
"""A source that consists of seeds and positions alone, so that a PNG's text chunk can name it."""
RowSource = SeedSource | GivenLatents
"""The source of a row: a seed, an interpolation of two, a vector sum of three, or given latents."""


def draw_rows(latents: Latents, sources: Sequence[RowSource], overrides: Sequence[Overrides] = ()) -> Drawn:
    """The latents of any sources, one row each; see ``interpolation.draw_sources``."""
    written = [(row, source) for row, source in enumerate(sources) if isinstance(source, GivenLatents | VectorSum)]
    if not written:
        return interpolation.draw_sources(latents, sources, overrides)  # type: ignore[arg-type]
    drawn = interpolation.draw_sources(latents, [_placeholder(source) for source in sources], overrides)
    for row, source in written:
        if isinstance(source, GivenLatents):
            values = source.latents
        else:
            summed = combine(latents, source, overrides[row] if overrides else None)
            values = {name: value[0] for name, value in summed.items()}
        for name, value in values.items():
            drawn[name][row] = value
    return drawn


def _placeholder(source: RowSource) -> interpolation.SeedOrInterpolation:
    """The seed drawn for a row that is overwritten afterwards; other sources as they are."""
    match source:
        case GivenLatents(seed=seed) | VectorSum(a=seed):
            return seed
        case _:
            return source
