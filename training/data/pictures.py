"""One picture in a file or in a shard: where its bytes are, and how they become pixels."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from training.data.pixels import prepare
from training.errors import first_line

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif"))
"""Files with other names, and hidden files and folders, are no part of a data set."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF")
"""Accepted formats, independent of a file's suffix. Others of Pillow's many formats start programs or are not pictures."""
MOST_PIXELS = 89_478_485
"""A larger image is refused as a decompression bomb: Pillow's own bound, 256 MiB of RGB."""


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be part of a data set, and why."""

    path: PurePosixPath
    reason: str

    def __str__(self) -> str:
        return f"{str(self.path)!r} {self.reason}"


@dataclass(frozen=True)
class PictureFile:
    """Where a picture's bytes are."""

    path: PurePosixPath
    """Its name in messages, by which pictures are sorted."""
    file: Path
    """The file, or the shard that holds it."""
    place: tuple[int, int] | None = None
    """Offset and length in the shard; None for a file of its own."""

    def open(self) -> Path | io.BytesIO:
        """What Pillow opens."""
        if self.place is None:
            return self.file
        with self.file.open("rb") as shard:
            shard.seek(self.place[0])
            return io.BytesIO(shard.read(self.place[1]))


def decode(picture: PictureFile, into: NDArray[np.uint8]) -> BadFile | None:
    """Write one image in place, [3,size,size], or say why it cannot be."""
    path, file = picture.path, picture.file
    try:
        if file.exists() and not file.is_file():
            return BadFile(path, "is not a regular file")  # a pipe would block
        if (os.stat(file).st_size if picture.place is None else picture.place[1]) == 0:
            return BadFile(path, "is empty")
        with Image.open(picture.open(), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                return BadFile(path, f"has {image.width} x {image.height} pixels, at most {MOST_PIXELS} are allowed")
            into[:] = np.asarray(prepare(image, into.shape[-1])).transpose(2, 0, 1)
    except UnidentifiedImageError:
        return BadFile(path, f"is not an image of {', '.join(FORMATS)}")
    except Exception as error:  # decoders raise any exception on garbage; each bad file must be listed
        reason = getattr(error, "strerror", None) or first_line(error)
        return BadFile(path, f"cannot be read ({reason})")
    return None
