"""From a model's output to the bytes that a client asked for: one table of formats for each kind of output."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from contract import Image, Output, Points, Tokens
from serving.plots import plot_points
from serving.png import write_png
from serving.runtime import Array

PNG_KEYWORD = "gan"
"""Keyword of the text inside a PNG that says how to make it again."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows of a model's output, and all that is needed to make them again."""

    output: Output
    rows: Array
    model: str
    digest: str
    runtime: str
    seed: int
    scale: int = 1
    given: Mapping[str, float] = field(default_factory=dict)

    def origin(self) -> dict[str, object]:
        """How to make it again, as JSON."""
        return {
            "model": self.model, "digest": self.digest, "runtime": self.runtime, "seed": self.seed, "n": len(self.rows),
            "scale": self.scale, "parameters": dict(self.given),
        }  # fmt: skip


@dataclass(frozen=True)
class Format:
    """One way to write a sample."""

    media_type: str
    encode: Callable[[Sample], bytes]
    is_picture: bool = False
    """Whether ``scale`` means something."""


def contact_sheet(rows: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """One picture of n: in lines of ceil(sqrt(n)), each pixel a square of ``scale``; what is left over is black.

    Args:
        rows: [n, height, width, channels].
    """
    n, height, width, channels = rows.shape
    if n == 1 and scale == 1:
        single: NDArray[np.uint8] = rows[0]
        return single
    columns = sheet_columns(n)
    lines = ceil(n / columns)
    sheet = np.zeros((lines * columns, height, width, channels), np.uint8)
    sheet[:n] = rows
    grid = sheet.reshape(lines, columns, height, width, channels).swapaxes(1, 2)
    picture: NDArray[np.uint8] = grid.reshape(lines * height, columns * width, channels)
    enlarged: NDArray[np.uint8] = picture.repeat(scale, 0).repeat(scale, 1)
    return enlarged


def sheet_columns(n: int) -> int:
    """How many pictures stand side by side in a contact sheet of n."""
    return ceil(sqrt(n))


def picture_pixels(output: Output, n: int, scale: int) -> int:
    """How many pixels a contact sheet or a plot has."""
    if isinstance(output, Image):
        columns = sheet_columns(n)
        return columns * ceil(n / columns) * output.height * output.width * scale**2
    return PLOT_SIDE**2 * scale**2


PLOT_SIDE = 400
"""Width and height of a plot at scale 1."""


def _image_png(sample: Sample) -> bytes:
    return write_png(contact_sheet(sample.rows, sample.scale), {PNG_KEYWORD: json.dumps(sample.origin())})


def _plot_png(sample: Sample) -> bytes:
    assert isinstance(sample.output, Points)
    pixels = plot_points(sample.rows, sample.output.low, sample.output.high, PLOT_SIDE * sample.scale)
    return write_png(pixels, {PNG_KEYWORD: json.dumps(sample.origin())})


def _webp(sample: Sample) -> bytes:
    return _by_pillow(sample, "WEBP", lossless=True, quality=75, method=2)


def _jpeg(sample: Sample) -> bytes:
    return _by_pillow(sample, "JPEG", quality=95, subsampling=0)


def _by_pillow(sample: Sample, name: str, **options: object) -> bytes:
    pixels = contact_sheet(sample.rows, sample.scale)
    buffer = io.BytesIO()
    Pictures.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, name, **options)
    return buffer.getvalue()


def _npy(sample: Sample) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(sample.rows), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _json(sample: Sample) -> bytes:
    rows = sample.rows
    what = {"kind": sample.output.kind, "dtype": str(rows.dtype), "shape": list(rows.shape), "data": rows.tolist()}
    return json.dumps({**sample.origin(), **what}, separators=(",", ":")).encode() + b"\n"


NPY = Format("application/octet-stream", _npy)
JSON = Format("application/json", _json)

FORMATS: dict[str, dict[str, Format]] = {
    Image.kind: {
        "png": Format("image/png", _image_png, is_picture=True),
        "webp": Format("image/webp", _webp, is_picture=True),
        "jpeg": Format("image/jpeg", _jpeg, is_picture=True),
        "npy": NPY,
        "json": JSON,
    },
    Points.kind: {"json": JSON, "npy": NPY, "png": Format("image/png", _plot_png, is_picture=True)},
    Tokens.kind: {"json": JSON, "npy": NPY},
}
"""By kind of output, the formats by name, the default one first."""


def fingerprints() -> dict[tuple[str, str], str]:
    """By kind and format, ``fingerprint``."""
    return {(kind, name): fingerprint(kind, name) for kind, formats in FORMATS.items() for name in formats}


def fingerprint(kind: str, name: str) -> str:
    """A hash of what this process's encoder of a kind and format makes of fixed samples.

    Another version of Pillow or zlib may write other bytes for the same pixels; then this differs.
    """
    encoded = b"".join(FORMATS[kind][name].encode(probe) for probe in _probes() if probe.output.kind == kind)
    return hashlib.sha256(encoded).hexdigest()[:16]


def _probes() -> list[Sample]:
    ramp = np.arange(3 * 24 * 24 * 3, dtype=np.int64)
    noise = (ramp * ramp * 2654435761 >> 13).astype(np.uint8).reshape(3, 24, 24, 3)
    noise[:, 8:16] = 7
    points = (ramp[:200] * 61 % 97 / 97).astype(np.float32)
    tokens = ramp[:12].reshape(3, 4)
    outputs: list[tuple[Output, Array]] = [
        (Image(24, 24, 1), noise[..., :1]), (Image(24, 24, 3), noise), (Tokens(4, 12), tokens),
        *((Points(k, (0.0,) * k, (1.0,) * k), points.reshape(-1, k)) for k in (1, 2, 5)),
    ]  # fmt: skip
    return [Sample(output=o, rows=rows, model="probe", digest="", runtime="", seed=0) for o, rows in outputs]
