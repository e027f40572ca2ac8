"""Rows of a model to the body of a response."""

from __future__ import annotations

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
