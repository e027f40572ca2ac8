"""Rows of given latents and sums of seeds, beside rows that follow from seeds and places between them, in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contract import Drawn, Latents, Overrides
from serving.latents import interpolation
from serving.latents.arithmetic import VectorSum, combine


class GivenLatents(NamedTuple):
    """A row whose latents were given, wholly or in part; the others follow from the seed."""

    seed: int
    latents: Mapping[str, Any]
    """By latent name float32 [size], or one int64; in range."""


SeedSource = interpolation.SeedOrInterpolation | VectorSum
"""What a query makes a row from: seeds say it all, and so can a picture's text."""
RowSource = SeedSource | GivenLatents
"""What a row is made from: a seed, a place between two, a sum of three, or given latents."""


def draw_rows(latents: Latents, sources: Sequence[RowSource], overrides: Sequence[Overrides] = ()) -> Drawn:
    """The latents of any sources, side by side; see ``interpolation.draw_sources``."""
    rows = [(place, source) for place, source in enumerate(sources) if isinstance(source, GivenLatents | VectorSum)]
    if not rows:
        return interpolation.draw_sources(latents, sources, overrides)  # type: ignore[arg-type]
    drawn = interpolation.draw_sources(latents, [_stand_in(source) for source in sources], overrides)
    for place, row in rows:
        values = (
            row.latents
            if isinstance(row, GivenLatents)
            else _only_row(combine(latents, row, overrides[place] if overrides else None))
        )
        for name, value in values.items():
            drawn[name][place] = value
    return drawn


def _stand_in(source: RowSource) -> interpolation.SeedOrInterpolation:
    """What is drawn first where a row is written over afterwards."""
    match source:
        case GivenLatents(seed=seed) | VectorSum(a=seed):
            return seed
        case _:
            return source


def _only_row(drawn: Drawn) -> Mapping[str, Any]:
    return {name: values[0] for name, values in drawn.items()}
