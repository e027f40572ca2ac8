"""Rows of given latents and sums of seeds, beside rows that follow from seeds and places between them, in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contract import Drawn, Given, Latents
from serving.latents import interpolation as walks
from serving.latents.arithmetic import Sum, combine


class Row(NamedTuple):
    """A row whose latents were given, wholly or in part; the others follow from the seed."""

    seed: int
    latents: Mapping[str, Any]
    """By latent name float32 [size], or one int64; in range."""


Told = walks.Source | Sum
"""What a query makes a row from: seeds say it all, and so can a picture's text."""
Source = Told | Row
"""What a row is made from: a seed, a place between two, a sum of three, or given latents."""


def draw_rows(latents: Latents, sources: Sequence[Source], given: Sequence[Given] = ()) -> Drawn:
    """The latents of any sources, side by side; see ``walks.draw_sources``."""
    rows = [(place, source) for place, source in enumerate(sources) if isinstance(source, Row | Sum)]
    if not rows:
        return walks.draw_sources(latents, sources, given)  # type: ignore[arg-type]
    drawn = walks.draw_sources(latents, [_stand_in(source) for source in sources], given)
    for place, row in rows:
        values = row.latents if isinstance(row, Row) else _only_row(combine(latents, row, given[place] if given else None))
        for name, value in values.items():
            drawn[name][place] = value
    return drawn


def _stand_in(source: Source) -> walks.Source:
    """What is drawn first where a row is written over afterwards."""
    match source:
        case Row(seed=seed) | Sum(a=seed):
            return seed
        case _:
            return source


def _only_row(drawn: Drawn) -> Mapping[str, Any]:
    return {name: values[0] for name, values in drawn.items()}
