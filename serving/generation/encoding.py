"""Rows of a model to the body of a response."""

from __future__ import annotations

import numpy as np

from contract import Array
from serving.encoding.formats import Format
from serving.engine.samples import sample_of
from serving.generation.query import SampleQuery
from serving.latents.sources import SeedSource


def encode_sample(form: Format, query: SampleQuery, source: SeedSource, rows: Array) -> bytes:
    """Encode rows: those of the seeds from ``source`` on, or the one row of an interpolation or a sum."""
    return form.encode(
        sample_of(query.model, rows, source, query.overrides, scale=query.scale, columns=query.columns, picture=query.picture)
    )


def kept_alone(rows: Array) -> Array:
    """Return rows that keep no others in memory: a copy, if they are a part of a batch."""
    is_part = isinstance(rows.base, np.ndarray) and rows.base.nbytes > rows.nbytes
    return rows.copy() if is_part else rows
