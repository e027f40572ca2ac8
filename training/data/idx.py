"""The IDX format of MNIST: two zero bytes, a type byte, the number of axes, each axis as a big-endian uint32, the values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.errors import DataError

UINT8 = 0x08
"""The only type of value that MNIST's files have, and the only one read here."""


def read_bytes(path: Path) -> bytes:
    """The file's content, unpacked where its name ends in .gz.

    Raises:
        DataError: naming a file that cannot be read or unpacked.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as {'gzip' if path.suffix == '.gz' else 'a file'}: {reason}") from error


def parse(content: bytes, axes: int, source: str) -> NDArray[np.uint8]:
    """The array in an IDX file's content: images have 3 axes, labels 1; ``source`` names the file in errors.

    Raises:
        DataError: the magic is wrong, or the length is not exactly what the header promises.
    """
    magic = bytes((0, 0, UINT8, axes))
    if content[:4] != magic:
        raise DataError(f"{source} must begin with the bytes {magic.hex(' ')}, got {content[:4].hex(' ') or 'an empty file'}")
    header = 4 + 4 * axes
    if len(content) < header:
        raise DataError(f"{source} must have a header of {header} bytes, got {len(content)} bytes")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    expected = header + math.prod(shape)
    if len(content) != expected:
        sides = " x ".join(map(str, shape))
        raise DataError(f"{source} promises {sides} values and must be {expected} bytes unpacked, got {len(content)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
