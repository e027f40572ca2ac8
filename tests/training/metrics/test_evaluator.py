"""The evaluation at each checkpoint: the alarm and the KID of samples."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from training.data import DataSet, load
from training.metrics.classifier import Classifier
from training.metrics.images import real_spread
from training.run import collapse
from training.run.collapse import evaluator_by


def test_kid_is_small_for_the_data_and_large_for_noise(classifier: Classifier, digits: DataSet, digits_test: DataSet) -> None:
    """Of unseen digits it is near zero, and of noise at least ten times as large."""
    look = evaluator_by(classifier, digits)
    noise = torch.randint(0, 256, digits_test.items.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    likeness, difference = (look(items[:1000], None)[1]["score/kid"] for items in (digits_test.items, noise))
    assert abs(likeness) * 10 < difference


def test_kid_is_against_all_classes_of_a_folder(
    classifier: Classifier, digits: DataSet, digits_test: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is taken evenly from items that are sorted by class, also where they are less than twice as many."""
    assert digits.labels is not None
    order = digits.labels.argsort(stable=True)
    monkeypatch.setattr(collapse, "SEEDS", range(len(digits) * 3 // 5))
    look = evaluator_by(classifier, replace(digits, items=digits.items[order], labels=digits.labels[order]))
    assert digits_test.labels is not None
    few = digits_test.items[digits_test.labels < 6]
    all_classes, first_classes = (look(items, None)[1]["score/kid"] for items in (digits_test.items, few))
    assert abs(all_classes) * 5 < first_classes


def test_without_a_judge_there_is_no_kid(digits: DataSet) -> None:
    """Where nothing knows the classes, nothing is measured."""
    assert evaluator_by(None, digits)(digits.items[:10], None)[1] == {}


def test_the_real_items_are_looked_at_once(digits: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their spread is the same at each evaluation, and a large set is read from the disk for it."""
    asked: list[bool] = []

    def counted(data: DataSet, is_within_class: bool) -> float:
        asked.append(is_within_class)
        return real_spread(data, is_within_class)

    monkeypatch.setattr(collapse, "real_spread", counted)
    evaluate = evaluator_by(None, digits)
    for labels in (None, digits.labels, digits.labels, None):
        assert evaluate(digits.items, labels) == (None, {})
    assert asked == [False, True]


def test_repeated_sequences_are_a_collapse() -> None:
    """The alarm compares the share of distinct sequences with the data's, and no distance between the numbers of tokens."""
    data = load("oracle-small", environ={})
    evaluate = evaluator_by(None, data)
    assert evaluate(data.items[:500], None) == (None, {})
    sign, _ = evaluate(data.items[:100].repeat(5, 1), None)
    assert sign == "collapse: 20% of 500 sequences are distinct, 20% of the share in oracle-small (alarm below 40%)"
