"""StackedMNIST's measures, on stacks of 8x8 digits and, where MNIST is at hand, on the data set itself."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

from training.data import DataSet, load
from training.data.stacked import stack
from training.metrics import stacked
from training.metrics.classifier import Classifier
from training.metrics.rows import Reals, stacked_rows

has_mnist = pytest.mark.skipif(not Path(os.environ.get("DATA_ROOT", ""), "mnist").is_dir(), reason="no $DATA_ROOT/mnist")


def _stacks(digits: DataSet, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Stacks of random digits and the mode of each."""
    assert digits.labels is not None
    chosen = torch.randint(0, len(digits), (count, 3), generator=torch.Generator().manual_seed(seed))
    labels = digits.labels[chosen]
    return stack(digits.items, chosen), labels[:, 0] * 100 + labels[:, 1] * 10 + labels[:, 2]


def test_each_channel_is_a_digit_of_the_mode(digits: DataSet, classifier: Classifier) -> None:
    """The classifier reads the number that was stacked in as many cases as it is right three times."""
    images, modes = _stacks(digits, 500, 0)
    assert float((stacked.modes_of(images, classifier) == modes).double().mean()) >= 0.95


def test_even_modes_are_at_no_distance_and_one_is_at_ln_1000() -> None:
    """KL 0 and 1,000 modes for each mode once; ln 1000 and one mode for a collapse."""
    assert stacked.mode_kl(torch.arange(1000)) == pytest.approx(0)
    assert stacked.count_modes(torch.arange(1000)) == 1000
    alone = torch.full((50,), 123)
    assert stacked.mode_kl(alone) == pytest.approx(math.log(1000))
    assert stacked.count_modes(alone) == 1


def test_few_samples_have_the_distance_that_is_foretold() -> None:
    """The mean over 40 uniform draws is the expectation within 1 %; of 26,000 it is (1000-1)/(2*26000) = .0192 but for 2 %."""
    dice = torch.Generator().manual_seed(1)
    for samples in (300, 26_000):
        values = [stacked.mode_kl(torch.randint(0, 1000, (samples,), generator=dice)) for _ in range(40)]
        assert sum(values) / 40 == pytest.approx(stacked.least_kl(samples), rel=0.01)
    assert stacked.least_kl(26_000) == pytest.approx(999 / 52_000, rel=0.02)


def test_the_rows_show_real_stacks_and_the_least_beside(digits: DataSet, digits_test: DataSet, classifier: Classifier) -> None:
    """Samples of one mode against real stacks: one mode, ln 1000, and real data with many."""
    real, _ = _stacks(digits_test, 300, 2)
    other, modes = _stacks(digits, 300, 3)
    modes_row, kl = stacked_rows(other[:1].repeat(300, 1, 1, 1), Reals(real, None, other, None), classifier)
    assert (modes_row.measure, modes_row.value) == (f"modes-{classifier.name}", 1)
    assert modes_row.real == pytest.approx(len(set(modes.tolist())), abs=10)
    assert kl.value == pytest.approx(math.log(1000))
    assert f"{stacked.least_kl(300):.4f}" in kl.by


@pytest.mark.slow
@has_mnist
def test_the_data_set_stacks_mnist_the_same_way_each_time() -> None:
    """128,000 and 26,000 images of three channels, each a digit of its own part; at 32 the same with a border."""
    train, mnist = (load(name, environ=os.environ) for name in ("stackedmnist", "mnist"))
    test = load("stackedmnist", split="test", environ=os.environ)
    assert (train.items.shape, test.items.shape) == ((128_000, 3, 28, 28), (26_000, 3, 28, 28))
    known = {digit.numpy().tobytes() for digit in mnist.items}
    assert all(channel.numpy().tobytes() in known for image in train.items[:50] for channel in image)
    assert torch.equal(load("stackedmnist", split="test", environ=os.environ).items, test.items)
    assert torch.equal(load("stackedmnist", split="test", size=32, environ=os.environ).items[:, :, 2:30, 2:30], test.items)
