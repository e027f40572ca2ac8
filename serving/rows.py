"""Rows of which a client gave latents itself, beside rows that follow from their seeds, in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contract import Drawn, Given, Latents, draw


class Row(NamedTuple):
    """A row whose latents were given, wholly or in part; the others follow from the seed."""

    seed: int
    latents: Mapping[str, Any]
    """By latent name float32 [size], or one int64; in range."""


Source = int | Row
"""What a row is made from."""


def draw_rows(latents: Latents, sources: Sequence[Source], given: Sequence[Given] = ()) -> Drawn:
    """The latents of seeds and of rows, side by side; see ``contract.draw``."""
    rows = [(place, source) for place, source in enumerate(sources) if isinstance(source, Row)]
    if not rows:
        return draw(latents, sources, given)  # type: ignore[arg-type]
    drawn = draw(latents, [source.seed if isinstance(source, Row) else source for source in sources], given)
    for place, row in rows:
        for name, values in row.latents.items():
            drawn[name][place] = values
    return drawn
