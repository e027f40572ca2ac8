"""Any folder of images as a data set: every file right, or an error that lists the files that are not."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from training.data.dataset import DataSet, Request
from training.data.errors import DataError
from training.data.pixels import prepare
from training.errors import first_line

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif"))
"""Files with other names, and hidden files and folders, are no part of a data set."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF")
"""Accepted formats, independent of a file's suffix. Others of Pillow's many formats start programs or are not pictures."""
DEFAULT_SIZE = 64
MOST_PIXELS = 89_478_485
"""A larger image is refused as a decompression bomb: Pillow's own bound, 256 MiB of RGB."""
MOST_FOLDERS = 64
"""Depth of a sub-folder, at most."""
MOST_LISTED = 10
"""How many bad files are looked for before giving up."""


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be part of a data set, and why."""

    path: PurePosixPath
    reason: str

    def __str__(self) -> str:
        return f"{str(self.path)!r} {self.reason}"


def load_folder(request: Request) -> DataSet:
    """All images under a folder, uint8 [N,3,size,size], or [N,1,size,size] when none of them has a coloured pixel.

    They are sorted by path. Where the folder has sub-folders, each is a class, with images at any depth.

    Raises:
        DataError: no images, images next to classes, an empty class, or files that are not right images, listed by name.
    """
    name = f"folder:{request.argument}"
    if request.split == "test":
        raise DataError(f"{name} has no test images: split must be train, or name another folder")
    root = Path(request.argument).expanduser()
    if not request.argument or not os.path.isdir(root):
        what = "is a file" if os.path.isfile(root) else "does not exist"
        raise DataError(f"{name} must name a folder of images, but {request.argument!r} {what}")
    bad: list[BadFile] = []
    paths = sorted(_walk(root, PurePosixPath(), (), bad), key=lambda path: path.parts)
    _refuse(name, bad, len(paths) + len(bad))
    if not paths:
        raise DataError(f"{name} has no images: it must hold files named {', '.join(sorted(SUFFIXES))}")
    classes = _classes(name, root, paths)
    items = _decode_all(name, root, paths, request.size or DEFAULT_SIZE)
    index = {label: number for number, label in enumerate(classes)}
    return DataSet(
        name=f"folder:{root.resolve().name}",
        items=torch.from_numpy(items),
        labels=torch.tensor([index[path.parts[0]] for path in paths]) if classes else None,
        classes=classes,
        licence="not stated",
        region=None,
    )


def _walk(root: Path, folder: PurePosixPath, above: tuple[tuple[int, int], ...], bad: list[BadFile]) -> Iterator[PurePosixPath]:
    """The images under a folder, by their path from the root; links are followed, and a link back upwards is bad."""
    try:
        status = os.stat(root / folder)
        names = os.listdir(root / folder)
    except OSError as error:
        bad.append(BadFile(folder, f"cannot be opened ({error.strerror})"))
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        bad.append(BadFile(folder, "is a link to a folder that it lies in"))
        return
    if len(above) > MOST_FOLDERS:
        bad.append(BadFile(PurePosixPath(*folder.parts[:3], "..."), f"has more than {MOST_FOLDERS} folders in each other"))
        return
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        if os.path.isdir(root / path):
            yield from _walk(root, path, (*above, here), bad)
        elif path.suffix.lower() in SUFFIXES:
            yield path


def _classes(name: str, root: Path, paths: list[PurePosixPath]) -> tuple[str, ...]:
    """The sub-folders' names, sorted; none where the images lie in the folder itself."""
    classes = tuple(sorted(entry for entry in os.listdir(root) if os.path.isdir(root / entry) and not entry.startswith(".")))
    if not classes:
        return ()
    loose = [path for path in paths if len(path.parts) == 1]
    if loose:
        raise DataError(f"{name} has sub-folders, its classes, so no image may lie beside them, got {str(loose[0])!r}")
    filled = {path.parts[0] for path in paths}
    empty = [label for label in classes if label not in filled]
    if empty:
        raise DataError(f"{name}: each sub-folder is a class and must hold an image, but {empty[0]!r} holds none")
    for label in classes:
        if not label.isprintable():
            raise DataError(f"{name}: a class's name must be printable UTF-8, got {label!r}")
    return classes


def _decode_all(name: str, root: Path, paths: list[PurePosixPath], size: int) -> NDArray[np.uint8]:
    """Every image, decoded by a pool of threads: uint8 [N,3,size,size] or [N,1,size,size].

    Raises:
        DataError: listing the first files that are not right images.
    """
    items = np.empty((len(paths), 3, size, size), np.uint8)
    bad: list[BadFile] = []
    pool = ThreadPoolExecutor(thread_name_prefix="decode")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # broken EXIF and the like: the pixels are right or decoding raises
        try:
            for problem in pool.map(partial(decode, root), paths, items):
                if problem is not None:
                    bad.append(problem)
                if len(bad) == MOST_LISTED:
                    break
        finally:
            pool.shutdown(cancel_futures=True)
    _refuse(name, bad, len(paths))
    is_grey = np.array_equal(items[:, 0], items[:, 1]) and np.array_equal(items[:, 0], items[:, 2])
    return np.ascontiguousarray(items[:, :1]) if is_grey else items


def decode(root: Path, path: PurePosixPath, into: NDArray[np.uint8]) -> BadFile | None:
    """Write one image of a folder in place, [3,size,size], or say why it cannot be."""
    file = root / path
    try:
        if file.exists() and not file.is_file():
            return BadFile(path, "is not a regular file")  # a pipe would block
        if os.stat(file).st_size == 0:
            return BadFile(path, "is empty")
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                return BadFile(path, f"has {image.width} x {image.height} pixels, at most {MOST_PIXELS} are allowed")
            into[:] = np.asarray(prepare(image, into.shape[-1])).transpose(2, 0, 1)
    except UnidentifiedImageError:
        return BadFile(path, f"is not an image of {', '.join(FORMATS)}")
    except Exception as error:  # decoders raise any exception on garbage; each bad file must be listed
        reason = getattr(error, "strerror", None) or first_line(error)
        return BadFile(path, f"cannot be read ({reason})")
    return None


def _refuse(name: str, bad: list[BadFile], total: int) -> None:
    if not bad:
        return
    count = f"the first {len(bad)}" if len(bad) >= MOST_LISTED else str(len(bad))
    listed = "; ".join(map(str, sorted(bad, key=lambda file: file.path)[:MOST_LISTED]))
    raise DataError(f"{name}: all {total} images must be readable, but {count} cannot be: {listed}")
