"""The evaluation at each checkpoint: the alarm and the KID of samples."""

from __future__ import annotations

import torch

from training.data import DataSet
from training.metrics.classifier import Classifier
from training.run.collapse import evaluator_by


def test_kid_is_small_for_the_data_and_large_for_noise(classifier: Classifier, digits: DataSet, digits_test: DataSet) -> None:
    """Of unseen digits it is near zero, and of noise at least ten times as large."""
    look = evaluator_by(classifier, digits)
    noise = torch.randint(0, 256, digits_test.items.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    likeness, difference = (look(items[:1000], None)[1]["score/kid"] for items in (digits_test.items, noise))
    assert abs(likeness) * 10 < difference


def test_without_a_judge_there_is_no_kid(digits: DataSet) -> None:
    """Where nothing knows the classes, nothing is measured."""
    assert evaluator_by(None, digits)(digits.items[:10], None)[1] == {}
