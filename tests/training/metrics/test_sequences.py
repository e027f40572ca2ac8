"""Measures of sequences."""

from __future__ import annotations

import pytest
import torch

from training.data import load
from training.data.oracle import ORACLE_SMALL
from training.metrics.sequences import distinct, oracle_nll


@pytest.mark.slow
def test_the_oracles_own_sequences_are_the_likeliest() -> None:
    """Unseen ones are as likely as those to train on; with two tokens exchanged they are less so."""
    train, test = (load("oracle-small", split=split, environ={}).items[:2_000] for split in ("train", "test"))
    (own, error), (other, _) = (oracle_nll(items, ORACLE_SMALL) for items in (train, test))
    assert abs(own - other) < 5 * error
    assert oracle_nll(train[:, [1, 0, *range(2, 10)]], ORACLE_SMALL)[0] > own + 0.25


def test_repeated_sequences_count_once() -> None:
    """Two of four."""
    assert distinct(torch.tensor([[1, 2], [2, 1], [1, 2], [1, 2]])) == pytest.approx(0.5)
