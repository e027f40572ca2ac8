"""A model's rows as encoders take them: with all that is needed to make them again."""

from __future__ import annotations

import numpy as np

from contract import Array, Overrides
from serving.encoding.formats import Sample
from serving.errors import NonFinite
from serving.latents.arithmetic import VectorSum
from serving.latents.interpolation import Interpolation
from serving.latents.sources import SeedSource
from serving.model.load import ModelFacts


def sample_of(
    model: ModelFacts,
    rows: Array,
    source: SeedSource,
    overrides: Overrides,
    *,
    scale: int = 1,
    columns: int | None = None,
    picture: str | None = None,
) -> Sample:
    """Return the sample of some rows.

    Args:
        model: the model that made them.
        rows: [n, ...], the model's output.
        source: the first row's seed, each other row having the next one; or the one row's interpolation or sum.
        overrides: parameter values that replaced sampled ones.
        scale: enlargement of pictures.
        columns: images side by side in a contact sheet; None means ``sheet_columns(n)``.
        picture: SHA-256 of the picture that the rows were made from; None if there was none.
    """
    seed, way = (0, source._asdict()) if isinstance(source, Interpolation | VectorSum) else (source, None)
    return Sample(
        output=model.card.output,
        rows=rows,
        model=model.card.name,
        digest=model.digest,
        runtime=model.runtime,
        seed=seed,
        scale=scale,
        columns=columns,
        overrides=overrides,
        way=way,
        picture=picture,
    )


def check_finite(rows: Array) -> None:
    """Check that no row holds NaN or infinity, which would be shown as a black picture.

    Raises:
        NonFinite: one does.
    """
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise NonFinite
