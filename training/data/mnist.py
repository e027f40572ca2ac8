"""MNIST and Fashion-MNIST as IDX files, gzipped or not: found on this machine or fetched once, and always verified."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data import idx
from training.data.dataset import DataSet, Request, Split
from training.data.errors import DataError, MissingPart
from training.data.pixels import fit_grey
from training.files import cache_folder


@dataclass(frozen=True, kw_only=True)
class IdxSource:
    """Where a data set of four IDX files comes from and what the files must be."""

    name: str
    """The data set's name, and of its folder under $DATA_ROOT."""
    classes: tuple[str, ...]
    """The names of labels 0, 1, ..."""
    licence: str
    """Its licence."""
    digests: Mapping[str, str]
    """File name without .gz → SHA-256 of the unpacked file, which holds however the file was compressed."""
    mirror: str
    """The URL, ending in /, under which the files lie with .gz."""
    places: tuple[Path, ...] = ()
    """Folders of the operating system's packages to look at too."""


MNIST = IdxSource(
    name="mnist",
    classes=tuple("0123456789"),
    licence="CC BY-SA 3.0 (MNIST: LeCun, Cortes, Burges)",
    digests={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    mirror="https://ossci-datasets.s3.amazonaws.com/mnist/",
)

FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    licence="MIT (Zalando SE)",
    digests={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    mirror="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    places=(Path("/usr/share/datasets/fashion-mnist"),),
)


def load_idx(source: IdxSource, request: Request) -> DataSet:
    """The data set from $DATA_ROOT/<name>, a package's folder or the cache; fetched into the cache where it is in none.

    Raises:
        DataError: naming the file that is missing, damaged or not the original's, or the URL that does not answer.
    """
    folder = find_folder(source, request.environ)
    if folder is None:
        folder = fetch(source, cache_folder(request.environ) / source.name)
    return load_files(source, folder, request.split, request.size)


def load_mnist50k(request: Request) -> DataSet:
    """All 70,000 digits shuffled, 50,000 to train and 20,000 to test, as scikit-learn users split "MNIST original".

    The shuffle is frozen (NumPy's RandomState(0)). Raises as ``load_idx``.
    """
    parts = [load_idx(MNIST, replace(request, split=split)) for split in ("train", "test")]
    order = torch.from_numpy(np.random.RandomState(0).permutation(sum(map(len, parts))))
    rows = order[:50_000] if request.split == "train" else order[50_000:]
    labels = torch.cat([part.labels for part in parts if part.labels is not None])[rows]
    return replace(parts[0], name="mnist50k", items=torch.cat([part.items for part in parts])[rows], labels=labels)


def find_folder(source: IdxSource, environ: Mapping[str, str]) -> Path | None:
    """The first folder on this machine that has the data set, or None. The cache counts once all its files are there."""
    root = environ.get("DATA_ROOT")
    places = ((Path(root) / source.name,) if root else ()) + source.places
    cache = cache_folder(environ) / source.name
    complete = all((cache / file).is_file() for file in source.digests)
    return next((place for place in (*places, *((cache,) if complete else ())) if os.path.isdir(place)), None)


def load_files(source: IdxSource, folder: Path, split: Split, size: int | None) -> DataSet:
    """One part of the data set out of a folder: uint8 [N,1,28,28], or size x size, with labels.

    Raises:
        DataError: naming the file that is missing, damaged, not the original's or does not fit the other.
    """
    prefix = "train" if split == "train" else "t10k"
    images_path, images = _read(source, folder, f"{prefix}-images-idx3-ubyte", axes=3)
    labels_path, labels = _read(source, folder, f"{prefix}-labels-idx1-ubyte", axes=1)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path} must have {len(images)} labels, one for each image of {images_path.name}, got {len(labels)}"
        )
    if labels.max(initial=0) >= len(source.classes):
        raise DataError(f"{labels_path}: each label must be 0..{len(source.classes) - 1}, got {labels.max()}")
    return DataSet(
        name=source.name,
        items=torch.from_numpy(fit_grey(images, size).copy()).unsqueeze(1),
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=source.classes,
        licence=source.licence,
        region=None,
    )


def _read(source: IdxSource, folder: Path, file: str, axes: int) -> tuple[Path, np.ndarray[Any, np.dtype[np.uint8]]]:
    path = next((path for path in (folder / file, folder / f"{file}.gz") if os.path.exists(path)), None)
    if path is None:
        raise MissingPart(f"{folder} must hold {file} or {file}.gz of {source.name}, and has neither")
    content = idx.read_bytes(path)
    values = idx.parse(content, axes, str(path))
    digest = hashlib.sha256(content).hexdigest()
    if digest != source.digests[file]:
        raise DataError(f"{path} is not {source.name}'s: the SHA-256 unpacked must be {source.digests[file]}, got {digest}")
    return path, values


def fetch(source: IdxSource, folder: Path) -> Path:
    """Download the four files into the folder, unpacked and verified; what is there and right already is kept.

    Raises:
        DataError: naming the URL that does not answer or answers something else, and where the files can be put by hand.
    """
    import pooch  # reads its proxies and opens its sessions only where something is fetched

    for file, digest in source.digests.items():
        url = f"{source.mirror}{file}.gz"
        try:
            # What pooch verifies is the unpacked file: the digest holds however the mirror compresses.
            pooch.retrieve(url, known_hash=f"sha256:{digest}", fname=file, path=folder, downloader=_download_unpacked)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            by_hand = f"put its four files under $DATA_ROOT/{source.name} by hand"
            raise DataError(f"{source.name} cannot be fetched from {url}, {by_hand}: {error}") from error
    return folder


def _download_unpacked(url: str, output: str, owner: Any) -> None:
    import pooch

    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "packed.gz"
        pooch.HTTPDownloader(progressbar=False)(url, str(packed), owner)
        with gzip.open(packed) as content, open(output, "wb") as unpacked:
            shutil.copyfileobj(content, unpacked)
