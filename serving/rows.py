"""Rows of which a client gave latents itself, beside rows that follow from seeds, in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contract import Drawn, Given, Latents
from serving import walks


class Row(NamedTuple):
    """A row whose latents were given, wholly or in part; the others follow from the seed."""

    seed: int
    latents: Mapping[str, Any]
    """By latent name float32 [size], or one int64; in range."""


Source = walks.Source | Row
"""What a row is made from: a seed, a place between two, or given latents."""


def draw_rows(latents: Latents, sources: Sequence[Source], given: Sequence[Given] = ()) -> Drawn:
    """The latents of any sources, side by side; see ``walks.draw_sources``."""
    rows = [(place, source) for place, source in enumerate(sources) if isinstance(source, Row)]
    if not rows:
        return walks.draw_sources(latents, sources, given)  # type: ignore[arg-type]
    drawn = walks.draw_sources(latents, [source.seed if isinstance(source, Row) else source for source in sources], given)
    for place, row in rows:
        for name, values in row.latents.items():
            drawn[name][place] = values
    return drawn
