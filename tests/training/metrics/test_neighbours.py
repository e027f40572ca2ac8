"""Measures by nearest neighbours against closed forms and the prdc package."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.data import DataSet
from training.metrics import neighbours


def _line(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_four_are_those_of_the_prdc_package(k: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Precision, recall, density and coverage of two overlapping clouds, over more rows than a piece."""
    from prdc import compute_prdc  # it imports scikit-learn, which takes half a second of each worker of the tests

    dice = np.random.default_rng(0)
    real, fake = dice.normal(0, 1, (1203, 6)), dice.normal(0.8, 0.7, (811, 6))
    expected = compute_prdc(real, fake, nearest_k=k)
    capsys.readouterr()
    found = neighbours.manifolds(torch.from_numpy(real), torch.from_numpy(fake), k=k)
    assert vars(found) == pytest.approx(expected, rel=1e-12)


def test_one_far_cluster_of_fakes_is_imprecise_and_covers_nothing() -> None:
    """Fakes far from every real: all four are 0."""
    real, fake = torch.arange(10.0)[:, None], 1000 + torch.arange(10.0)[:, None]
    assert vars(neighbours.manifolds(real, fake, k=2)) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_fakes_in_half_of_the_data_are_precise_and_cover_half() -> None:
    """Two clusters of eleven, fakes between the points of one: precision 1, recall and coverage 1/2."""
    one = torch.arange(11.0)[:, None]
    real, fake = torch.cat([one, one + 1000]), one + 0.25
    found = neighbours.manifolds(real, fake, k=2)
    assert (found.precision, found.recall, found.coverage) == (1, 0.5, 0.5)


def test_too_few_points_have_no_ball() -> None:
    """The error says how many are needed."""
    with pytest.raises(ValueError, match="more than k = 5 points a side are needed, got 5 and 9"):
        neighbours.manifolds(torch.zeros(5, 2), torch.zeros(9, 2))


def test_the_nearest_neighbour_names_by_distance() -> None:
    """One of four test points lies nearer to the other class: error 1/4, with the binomial's standard error."""
    images, labels = _line(0, 10), torch.tensor([3, 7])
    test, truth = _line(1, 9, 4, 4.5), torch.tensor([3, 7, 3, 7])
    assert neighbours.nearest_error(images, labels, test, truth) == pytest.approx((0.25, math.sqrt(0.25 * 0.75 / 4)))


def test_it_is_scikit_learns_classifier(digits: DataSet, digits_test: DataSet) -> None:
    """On the 8x8 digits, the same share of errors as KNeighborsClassifier with one neighbour."""
    from sklearn.neighbors import KNeighborsClassifier

    assert digits.labels is not None
    assert digits_test.labels is not None
    oracle = KNeighborsClassifier(1).fit(digits.items.flatten(1).numpy(), digits.labels.numpy())
    right = oracle.score(digits_test.items.flatten(1).numpy(), digits_test.labels.numpy())
    error, _ = neighbours.nearest_error(digits.items, digits.labels, digits_test.items, digits_test.labels)
    assert error == pytest.approx(1 - right)
    assert error > 0


def test_uint8_images_do_not_overflow() -> None:
    """White and black 28x28 images are distinguished, with their exact distance."""
    black, white = (torch.full((1, 1, 28, 28), level, dtype=torch.uint8) for level in (0, 255))
    distance, index = neighbours.nearest_of(black.flatten(1), torch.cat([white, white]).flatten(1))
    assert float(distance) == pytest.approx(255 * 28)
    assert int(index) == 0


def test_memorisation_is_the_ratio_of_mean_distances() -> None:
    """Copies score 0, unseen images 1, what lies twice as far 2."""
    train, test = _line(0, 100, 200), _line(1, 102, 203)
    assert neighbours.memorisation(train, test, train) == (0, 0)
    assert neighbours.memorisation(test, test, train)[0] == 1
    twice = _line(2, 104, 206)
    value, error = neighbours.memorisation(twice, test, train)
    assert value == pytest.approx(2)
    # Relative variances of (2,4,6) and (1,2,3) are both 1/4, over three points each.
    assert error == pytest.approx(2 * math.sqrt(2 * 0.25 / 3))
