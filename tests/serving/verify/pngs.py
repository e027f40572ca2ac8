"""PNG files of the service, changed in one place."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

from serving.encoding.formats import PNG_KEYWORD
from serving.encoding.png import SIGNATURE, write_chunk, write_png
from serving.encoding.png_reader import read_png

Chunk = tuple[bytes, bytes]
"""Type and content."""
HEADER = ("width", "height", "depth", "colour", "compression", "filter", "interlace")


def joined(chunks: Sequence[Chunk]) -> bytes:
    """A PNG of these chunks."""
    return SIGNATURE + b"".join(write_chunk(*chunk) for chunk in chunks)


def with_text(data: bytes, content: bytes, kind: bytes = b"tEXt", times: int = 1) -> bytes:
    """A PNG with another text chunk in its text chunk's place."""
    chunks = [[chunk] if chunk[0] != b"tEXt" else [(kind, content)] * times for chunk in read_png(data).chunks]
    return joined([chunk for group in chunks for chunk in group])


def with_origin(data: bytes, **changes: object) -> bytes:
    """A PNG that says something else of how it was made."""
    origin = {**json.loads(read_png(data).text(PNG_KEYWORD)), **changes}
    return with_text(data, b"gan\0" + json.dumps(origin).encode())


def with_chunk(data: bytes, chunk: Chunk, place: int) -> bytes:
    """A PNG with one chunk more, which is then the chunk of this number from 0."""
    chunks = list(read_png(data).chunks)
    return joined([*chunks[:place], chunk, *chunks[place:]])


def with_header(data: bytes, **changes: int) -> bytes:
    """A PNG with other fields in its header, by their names in ``HEADER``."""
    (_, header), *others = read_png(data).chunks
    fields = dict(zip(HEADER, struct.unpack(">IIBBBBB", header), strict=True)) | changes
    return joined([(b"IHDR", struct.pack(">IIBBBBB", *fields.values())), *others])


def with_pixels(data: bytes, pixels: Any) -> bytes:
    """A PNG of other pixels, uint8 of (height, width, 1 or 3), that says it was made as this one."""
    return write_png(pixels, {PNG_KEYWORD: read_png(data).text(PNG_KEYWORD)})


def with_lines(data: bytes, lines: bytes) -> bytes:
    """A PNG with other bytes to inflate."""
    return joined([chunk if chunk[0] != b"IDAT" else (b"IDAT", lines) for chunk in read_png(data).chunks])
