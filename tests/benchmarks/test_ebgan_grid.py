"""The grid's score against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.training.ebgan_grid import inception_prime


def test_one_answer_for_every_sample_scores_nothing() -> None:
    """Where every sample looks the same to the classifier, p(y|x) is p(y)."""
    assert inception_prime(torch.tensor([[0.3, 0.7]] * 4)) == pytest.approx(0, abs=1e-9)


def test_sure_and_different_answers_score_high() -> None:
    """p(y) = 1/2, 1/2 against .9, .1 and .1, .9: KL is -1/2 ln(4 * .9 * .1) both times, and it is squared."""
    shares = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    assert inception_prime(shares) == pytest.approx((-0.5 * math.log(0.36)) ** 2, rel=1e-5)
