"""Encode a model's output: one table of formats for each kind of output."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import features

from contract import Array, Image, Output, Points, Tokens
from serving.encoding.plots import plot_points
from serving.encoding.png import write_png
from serving.encoding.tar import tar_blocks

PNG_KEYWORD = "gan"
"""Keyword of a PNG's text chunk, which holds ``Sample.origin``."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows of a model's output, and how they were computed."""

    output: Output
    rows: Array
    model: str
    digest: str
    runtime: str
    seed: int
    """The first row's seed; each of the others has the next one."""
    scale: int = 1
    columns: int | None = None
    """Columns of a contact sheet; None means ``sheet_columns``."""
    overrides: Mapping[str, float] = field(default_factory=dict)
    way: Mapping[str, object] | None = None
    """The fields of an ``Interpolation`` or a ``VectorSum``, in place of ``seed`` and ``n`` in the origin."""
    picture: str | None = None
    """SHA-256 of the given picture's pixels at the model's size; None if none was given."""

    def origin(self) -> dict[str, object]:
        """All that is needed to compute the rows again, as JSON."""
        source = {"seed": self.seed, "n": len(self.rows)} if self.way is None else self.way
        columns = {} if self.columns is None else {"cols": self.columns}
        picture = {} if self.picture is None else {"picture": self.picture}
        return {
            "model": self.model,
            "digest": self.digest,
            "runtime": self.runtime,
            **source,
            **picture,
            "scale": self.scale,
            **columns,
            "parameters": dict(self.overrides),
        }


@dataclass(frozen=True)
class Format:
    """A format of samples."""

    media_type: str
    encode: Callable[[Sample], bytes]
    is_picture: bool = False
    """Whether ``scale`` applies."""
    is_sheet: bool = False
    """Whether ``cols`` applies: one picture holds several images."""
    is_bulk: bool = False
    """Whether the greater limit of ``GAN_MAX_BULK`` applies to ``n``."""
    is_slow: bool = False
    """Whether even a small picture takes long to encode."""
    max_side: int = 2**31 - 1
    """Pixels of the picture's width or height, at most."""


def contact_sheet(rows: NDArray[np.uint8], scale: int, columns: int | None = None) -> NDArray[np.uint8]:
    """Arrange n images as one picture, each pixel enlarged ``scale`` times; unused cells are black.

    Args:
        rows: [n, height, width, channels].
        scale: from 1.
        columns: images per line, 1..n; None means ``sheet_columns(n)``.

    Returns:
        [lines * height * scale, columns * width * scale, channels].
    """
    n, height, width, channels = rows.shape
    if n == 1 and scale == 1:
        single: NDArray[np.uint8] = rows[0]
        return single
    columns = columns or sheet_columns(n)
    lines = ceil(n / columns)
    sheet = np.zeros((lines * columns, height, width, channels), np.uint8)
    sheet[:n] = rows
    grid = sheet.reshape(lines, columns, height, width, channels).swapaxes(1, 2)
    picture: NDArray[np.uint8] = grid.reshape(lines * height, columns * width, channels)
    enlarged: NDArray[np.uint8] = picture.repeat(scale, 0).repeat(scale, 1)
    return enlarged


def sheet_columns(n: int) -> int:
    """The default number of columns of a contact sheet of n images."""
    return ceil(sqrt(n))


def picture_sides(output: Output, n: int, scale: int, columns: int | None = None) -> tuple[int, int]:
    """Height and width in pixels of a contact sheet or a plot."""
    if isinstance(output, Image):
        columns = columns or sheet_columns(n)
        return ceil(n / columns) * output.height * scale, columns * output.width * scale
    return PLOT_SIDE * scale, PLOT_SIDE * scale


def picture_pixels(output: Output, n: int, scale: int, columns: int | None = None) -> int:
    """The number of pixels of a contact sheet or a plot."""
    height, width = picture_sides(output, n, scale, columns)
    return height * width


PLOT_SIDE = 400
"""Width and height of a plot at scale 1."""


def _image_png(sample: Sample) -> bytes:
    return write_png(contact_sheet(sample.rows, sample.scale, sample.columns), {PNG_KEYWORD: json.dumps(sample.origin())})


def _plot_png(sample: Sample) -> bytes:
    assert isinstance(sample.output, Points)
    pixels = plot_points(sample.rows, sample.output.low, sample.output.high, PLOT_SIDE * sample.scale)
    return write_png(pixels, {PNG_KEYWORD: json.dumps(sample.origin())})


def _webp(sample: Sample) -> bytes:
    return _by_pillow(sample, "WEBP", lossless=True, quality=75, method=2)


def _jpeg(sample: Sample) -> bytes:
    return _by_pillow(sample, "JPEG", quality=95, subsampling=0)


def _avif(sample: Sample) -> bytes:
    """Lossless for grey; colours change by at most three levels, since Pillow writes them as luma and chroma."""
    chroma = "4:0:0" if sample.rows.shape[3] == 1 else "4:4:4"
    return _by_pillow(sample, "AVIF", quality=100, subsampling=chroma, speed=8, max_threads=1)


def _by_pillow(sample: Sample, name: str, **options: object) -> bytes:
    pixels = contact_sheet(sample.rows, sample.scale, sample.columns)
    buffer = io.BytesIO()
    Pictures.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, name, **options)
    return buffer.getvalue()


def _npy(sample: Sample) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(sample.rows), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def tar_of_images(sample: Sample) -> Iterator[bytes]:
    """A tar of one PNG per image, ``<seed>.png``, in pieces; each file is byte-equal to the seed's own PNG."""
    singles = (replace(sample, rows=sample.rows[i : i + 1], seed=sample.seed + i) for i in range(len(sample.rows)))
    yield from tar_blocks((f"{single.seed}.png", _image_png(single)) for single in singles)


def _tar(sample: Sample) -> bytes:
    return b"".join(tar_of_images(sample))


def json_rows(rows: Array) -> Iterator[bytes]:
    """Rows as a JSON array without spaces, in pieces of one row.

    The encoder of ``json`` lets no other thread run until it ends: all rows at once would stop the event loop for seconds.
    """
    for index, row in enumerate(rows):
        yield b"," if index else b"["
        yield json.dumps(row.tolist(), separators=(",", ":")).encode()
    yield b"]"


def _json(sample: Sample) -> bytes:
    rows = sample.rows
    facts = {**sample.origin(), "kind": sample.output.kind, "dtype": str(rows.dtype), "shape": list(rows.shape)}
    head = json.dumps(facts, separators=(",", ":"))[:-1]
    return b"".join([head.encode(), b',"data":', *json_rows(rows), b"}\n"])


NPY = Format("application/octet-stream", _npy, is_bulk=True)
JSON = Format("application/json", _json)


def image_formats(*, has_avif: bool) -> dict[str, Format]:
    """The formats of images by name, the default one first; Pillow may be built without AVIF."""
    formats = {
        "png": Format("image/png", _image_png, is_picture=True, is_sheet=True),
        "webp": Format("image/webp", _webp, is_picture=True, is_sheet=True, max_side=16383),
        "jpeg": Format("image/jpeg", _jpeg, is_picture=True, is_sheet=True, max_side=65500),
        "avif": Format("image/avif", _avif, is_picture=True, is_sheet=True, is_slow=True, max_side=32768),
        "npy": NPY,
        "json": JSON,
        "tar": Format("application/x-tar", _tar, is_picture=True, is_bulk=True),
    }
    return {name: form for name, form in formats.items() if name != "avif" or has_avif}


FORMATS: dict[str, dict[str, Format]] = {
    Image.kind: image_formats(has_avif=bool(features.check("avif"))),
    Points.kind: {"json": JSON, "npy": NPY, "png": Format("image/png", _plot_png, is_picture=True)},
    Tokens.kind: {"json": JSON, "npy": NPY},
}
"""By kind of output, the formats by name, the default one first."""


def fingerprints() -> dict[tuple[str, str], str]:
    """By kind and format, ``fingerprint``."""
    return {(kind, name): fingerprint(kind, name) for kind, formats in FORMATS.items() for name in formats}


def fingerprint(kind: str, name: str) -> str:
    """A hash of this process's encoding of fixed samples in one kind and format.

    It differs where another version of Pillow or zlib writes other bytes for the same pixels.
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
        (Image(24, 24, 1), noise[..., :1]),
        (Image(24, 24, 3), noise),
        (Tokens(4, 12), tokens),
        *((Points(k, (0.0,) * k, (1.0,) * k), points.reshape(-1, k)) for k in (1, 2, 5)),
    ]
    return [Sample(output=o, rows=rows, model="probe", digest="", runtime="", seed=0) for o, rows in outputs]
