"""Errors of codes and of classifications, and the rank correlation, against what can be counted by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from training.errors import ScoreError
from training.metrics.codes import code_error, count_errors
from training.metrics.rank import rank_correlation


def test_renamed_classes_are_no_error() -> None:
    """A code that is the label under another name has no error, as numbers and as logits."""
    labels = torch.arange(10).repeat(7)
    codes = (3 * labels + 1) % 10
    assert code_error(codes, labels) == 0
    assert code_error(F.one_hot(codes, 10).float(), labels) == 0


def test_each_code_stands_for_one_class_only() -> None:
    """Two codes that show one class: one of them is wrong altogether; the best matching of all is taken."""
    dice = torch.Generator().manual_seed(0)
    codes, labels = (torch.randint(0, 4, (200,), generator=dice) for _ in "ab")
    best = max(
        sum(p[c] == y for c, y in zip(codes.tolist(), labels.tolist(), strict=True)) for p in itertools.permutations(range(4))
    )
    assert code_error(codes, labels) == pytest.approx(1 - best / 200)
    assert code_error(torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.int64)) == 0.5


def test_a_code_that_says_nothing_is_right_for_one_class() -> None:
    """All in one code: a tenth is right."""
    assert code_error(torch.zeros(100, dtype=torch.int64), torch.arange(10).repeat(10)) == pytest.approx(0.9)


def test_errors_are_counted() -> None:
    """Two of three logits have another likeliest class than the label."""
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    assert count_errors(logits, torch.tensor([0, 0, 1])) == 2


def test_answers_and_labels_must_match() -> None:
    """The error holds both counts."""
    with pytest.raises(ScoreError, match="got 2 and 3"):
        count_errors(torch.zeros(2, 10), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ScoreError, match="got 0 and 0"):
        code_error(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


def test_ranks_see_the_order_alone() -> None:
    """1 for a rising function, -1 for a falling one, 1 - 6 sum d^2 / n(n^2-1) in between; ties share a rank."""
    x = [1.0, 2.0, 3.0, 4.0]
    assert rank_correlation(x, [math.exp(v) for v in x]) == pytest.approx(1)
    assert rank_correlation(x, [-v for v in x]) == pytest.approx(-1)
    assert rank_correlation(x, [1.0, 3.0, 2.0, 4.0]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation([1.0, 1.0, 2.0], [5.0, 5.0, 9.0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], "at least 3"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "got 3 and 2 values"),
        ([1.0, math.nan, 3.0], [1.0, 2.0, 3.0], "not finite"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "never changes"),
    ],
)
def test_series_without_ranks_are_refused(first: list[float], second: list[float], message: str) -> None:
    """Too short, of two lengths, not finite, constant: each says so."""
    with pytest.raises(ScoreError, match=message):
        rank_correlation(first, second)
