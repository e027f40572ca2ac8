"""Pictures of the gallery: several in rows, in one small file."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

MAX_BYTES = 40_000
"""Of one picture, so that the page loads at once."""
QUALITIES = (80, 50, 20, 5)
"""Tried in this order where a lossless picture is too large."""


def in_a_row(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size in a row."""
    return Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures], axis=1))


def sheet(pictures: Sequence[Image.Image]) -> bytes:
    """Pictures one below the other as one WebP, lossless if it is small enough."""
    width, height = max(p.width for p in pictures), sum(p.height for p in pictures)
    whole, top = Image.new(pictures[0].mode, (width, height)), 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    buffer = io.BytesIO()
    whole.save(buffer, "WEBP", lossless=True, quality=100, method=6)
    for quality in QUALITIES:
        if buffer.tell() <= MAX_BYTES:
            break
        buffer = io.BytesIO()
        whole.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()
