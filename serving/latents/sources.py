"""Draw the latents of any mix of row sources in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract import Drawn, Inputs, Latents, Overrides, Picture, picture_inputs
from serving.latents import interpolation
from serving.latents.arithmetic import VectorSum, combine


class GivenLatents(NamedTuple):
    """A row some or all of whose latents the request gives; the seed draws the others."""

    seed: int
    latents: Mapping[str, Any]
    """By latent name float32 [size], or one int64; in range."""


class PictureSource(NamedTuple):
    """A row that changes a given picture."""

    seed: int
    picture: NDArray[np.uint8]
    """[height, width, channels], as the model's card declares it."""


SeedSource = interpolation.SeedOrInterpolation | VectorSum
"""A source that consists of seeds and positions alone, so that a PNG's text chunk can name it."""
RowSource = SeedSource | GivenLatents | PictureSource
"""The source of a row: a seed, an interpolation of two, a vector sum of three, given latents, or a seed and a picture."""


def row_inputs(
    latents: Latents, picture: Picture | None, sources: Sequence[RowSource], overrides: Sequence[Overrides] = ()
) -> Inputs:
    """The graph's inputs of any sources, one row each: latents, and pictures where the model takes them."""
    drawn = draw_rows(latents, sources, overrides)
    if picture is None:
        return drawn
    pictures = [source.picture if isinstance(source, PictureSource) else None for source in sources]
    return {**drawn, **picture_inputs(picture, pictures)}


def draw_rows(latents: Latents, sources: Sequence[RowSource], overrides: Sequence[Overrides] = ()) -> Drawn:
    """The latents of any sources, one row each; see ``interpolation.draw_sources``."""
    written = [
        (row, source) for row, source in enumerate(sources) if isinstance(source, GivenLatents | VectorSum | PictureSource)
    ]
    if not written:
        return interpolation.draw_sources(latents, sources, overrides)  # type: ignore[arg-type]
    drawn = interpolation.draw_sources(latents, [_placeholder(source) for source in sources], overrides)
    for row, source in written:
        if isinstance(source, PictureSource):
            continue  # the seed's own latents
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
        case GivenLatents(seed=seed) | VectorSum(a=seed) | PictureSource(seed=seed):
            return seed
        case _:
            return source
