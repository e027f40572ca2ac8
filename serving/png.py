"""PNG written by fifteen lines around zlib, faster than a general library by two to four (W3C PNG, third edition).

zlib itself, since its deflate has no variants by processor: the same pixels are the same bytes on every machine that has it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 3: 2}
LEVEL = 1


def write_png(pixels: NDArray[np.uint8], texts: Mapping[str, str]) -> bytes:
    """A PNG file.

    Args:
        pixels: [height, width, channels], 1 channel is grey, 3 are RGB.
        texts: ASCII texts by keyword, kept inside the file.
    """
    height, width, channels = pixels.shape
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each line begins with its filter, 0: none
    lines[:, 1:] = pixels.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [write_chunk(b"tEXt", keyword.encode("ascii") + b"\0" + text.encode("ascii")) for keyword, text in texts.items()]
    body = write_chunk(b"IDAT", zlib.compress(lines.data, LEVEL))
    return b"".join([SIGNATURE, write_chunk(b"IHDR", header), *chunks, body, write_chunk(b"IEND", b"")])


def write_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk: length, kind, content, checksum."""
    tagged = kind + data
    return b"".join([struct.pack(">I", len(data)), tagged, struct.pack(">I", zlib.crc32(tagged))])
