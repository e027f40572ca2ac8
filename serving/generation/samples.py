"""A model's rows as what encoders take: with all that is needed to make them again."""

from __future__ import annotations

from contract import Given
from serving.encoding.formats import Sample
from serving.latents.arithmetic import Sum
from serving.latents.interpolation import Place
from serving.latents.sources import Told
from serving.model.load import Model
from serving.model.runtime import Array


def sample_of(model: Model, rows: Array, source: Told, given: Given, *, scale: int = 1, columns: int | None = None) -> Sample:
    """The sample of some rows.

    Args:
        model: what made them.
        rows: [n, ...], the model's output.
        source: the first row's seed, each other row having the next one; or the one row's place, or sum.
        given: the values that were fixed.
        scale: enlargement of pictures.
        columns: images side by side in a contact sheet; None means ``sheet_columns(n)``.
    """
    seed, way = (0, source._asdict()) if isinstance(source, Place | Sum) else (source, None)
    return Sample(
        output=model.card.output,
        rows=rows,
        model=model.card.name,
        digest=model.digest,
        runtime=model.runtime,
        seed=seed,
        scale=scale,
        columns=columns,
        given=given,
        way=way,
    )
