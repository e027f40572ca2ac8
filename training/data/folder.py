"""Any folder of images as a data set: every file right, or an error that lists the files that are not."""

from __future__ import annotations

import hashlib
import math
import os
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.cache import Prefetch, forget_unused, is_grey, open_cache
from training.data.dataset import DataSet, Request
from training.data.errors import DataError, MissingPart
from training.data.pictures import SUFFIXES, BadFile, PictureFile, decode
from training.data.shards import read_shards
from training.files import cache_folder

DEFAULT_SIZE = 64
IN_MEMORY = 256 * 2**20
"""Bytes of decoded images that are decoded at each start and held in memory; more are in the cache folder."""
MOST_FOLDERS = 64
"""Depth of a sub-folder, at most."""
MOST_LISTED = 10
"""How many bad files are looked for before giving up."""


def load_folder(request: Request) -> DataSet:
    """All images under a folder, uint8 [N,3,size,size], or [N,1,size,size] when none of them has a coloured pixel.

    They are sorted by path. Where the folder has sub-folders, each is a class, with images at any depth. Where it has
    WebDataset shards, their members are the images. More than ``IN_MEMORY`` bytes stay on disk, decoded.

    Raises:
        DataError: no images, images next to classes, an empty class, or files that are not right images, listed by name.
    """
    name = f"folder:{request.argument}"
    if request.split == "test":
        raise MissingPart(f"{name} has no test images: split must be train, or name another folder")
    root = Path(request.argument).expanduser()
    if not request.argument or not os.path.isdir(root):
        what = "is a file" if os.path.isfile(root) else "does not exist"
        raise DataError(f"{name} must name a folder of images, but {request.argument!r} {what}")
    pictures, labels, classes = _listed(name, root)
    if not pictures:
        raise DataError(f"{name} has no images: it must hold files named {', '.join(sorted(SUFFIXES))}, or .tar shards of them")
    for label in classes:
        if not label.isprintable() or not label:
            raise DataError(f"{name}: a class's name must be printable UTF-8, got {label!r}")
    items, prefetch = _items(name, pictures, request.size or DEFAULT_SIZE, request)
    index = {label: number for number, label in enumerate(classes)}
    return DataSet(
        name=f"folder:{root.resolve().name}",
        items=items,
        labels=torch.tensor([index[label] for label in labels]) if classes else None,
        classes=classes,
        licence="not stated",
        region=None,
        prefetch=prefetch,
    )


def _listed(name: str, root: Path) -> tuple[list[PictureFile], list[str], tuple[str, ...]]:
    """The pictures of a folder or of its shards, the class of each, and the classes; both empty where there are none."""
    bad: list[BadFile] = []
    paths = sorted(_walk(root, PurePosixPath(), (), bad), key=lambda path: path.parts)
    shards = [entry for entry in os.listdir(root) if entry.endswith(".tar") and not entry.startswith(".")]
    if shards and paths:
        raise DataError(f"{name} holds shards, such as {shards[0]!r}, so no image may lie beside them, got {str(paths[0])!r}")
    if shards:
        pictures, labels = read_shards(name, root, shards, bad)
        _refuse(name, bad, len(pictures) + len(bad))
        return pictures, labels, _in_order(labels)
    _refuse(name, bad, len(paths) + len(bad))
    classes = _classes(name, root, paths) if paths else ()
    return [PictureFile(path, root / path) for path in paths], [path.parts[0] for path in paths if classes], classes


def _in_order(labels: list[str]) -> tuple[str, ...]:
    """Each label once, numbers by their value, and the same number in two spellings by those."""
    is_number = all(label.isascii() and label.isdigit() for label in labels)
    return tuple(sorted(set(labels), key=lambda label: (int(label) if is_number else 0, label)))


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
    return classes


def _items(name: str, pictures: list[PictureFile], size: int, request: Request) -> tuple[Tensor, Prefetch | None]:
    """Every image: uint8 [N,3,size,size], or [N,1,size,size] of grey ones, in memory, or from the cache with its ``Prefetch``.

    Raises:
        DataError: listing the first files that are not right images.
    """
    shape = (len(pictures), 3, size, size)
    bad: list[BadFile] = []

    def fill(first: int, items: NDArray[np.uint8]) -> bool:
        before = len(bad)
        if before < MOST_LISTED:
            _decode_all(pictures[first : first + len(items)], items, bad)
        return before == len(bad) < MOST_LISTED

    if math.prod(shape) > IN_MEMORY:
        root = Path(request.argument).expanduser().resolve()
        folder = cache_folder(request.environ) / "pictures" / _key(root, pictures, size)
        forget_unused(folder.parent, folder, request.say)
        items, are_grey, prefetch = open_cache(folder, shape, fill, request.say)
        _refuse(name, bad, len(pictures))
        return (items[:, :1] if are_grey else items), prefetch
    decoded = np.empty(shape, np.uint8)
    started_s = time.monotonic()
    fill(0, decoded)
    _refuse(name, bad, len(pictures))
    request.say(f"decoded {len(pictures):,} pictures, {len(pictures) / (time.monotonic() - started_s):,.0f} a second")
    return torch.from_numpy(np.ascontiguousarray(decoded[:, :1]) if is_grey(decoded) else decoded), None


def _key(root: Path, pictures: list[PictureFile], size: int) -> str:
    """What decoded pictures depend on: the folder, names, places, lengths and times of its files, the size, and the decoder.

    Without the folder two sets of uncompressed pictures that were unpacked with the same times would be taken for one.
    """
    digest = hashlib.sha256(repr((str(root), size, PIL.__version__)).encode())
    for picture in pictures:
        with suppress(OSError):  # a file that is not there is listed when it is decoded
            status = os.stat(picture.file)
            digest.update(repr((str(picture.path), picture.place, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def _decode_all(pictures: list[PictureFile], items: NDArray[np.uint8], bad: list[BadFile]) -> None:
    """Decode images into ``items`` by a pool of threads; list those that are not right, up to ``MOST_LISTED``."""
    pool = ThreadPoolExecutor(thread_name_prefix="decode")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # broken EXIF and the like: the pixels are right or decoding raises
        try:
            for problem in pool.map(decode, pictures, items):
                if problem is not None:
                    bad.append(problem)
                if len(bad) == MOST_LISTED:
                    break
        finally:
            pool.shutdown(cancel_futures=True)


def _refuse(name: str, bad: list[BadFile], total: int) -> None:
    if not bad:
        return
    count = f"the first {len(bad)}" if len(bad) >= MOST_LISTED else str(len(bad))
    listed = "; ".join(map(str, sorted(bad, key=lambda file: file.path)[:MOST_LISTED]))
    raise DataError(f"{name}: all {total} images must be readable, but {count} cannot be: {listed}")
