"""The oracle: a distribution of sequences whose likelihood is known."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from numpy.random import RandomState

from training.data import load
from training.data.oracle import ORACLE, ORACLE_SMALL, Oracle

TINY = Oracle(name="tiny", vocabulary=3, length=3)


@pytest.mark.slow
def test_the_data_set_is_tokens_and_the_same_each_time() -> None:
    """int64 [10000,10] below the vocabulary, with the digest that it always had; the test part is another draw."""
    data, test = (load("oracle-small", split=split, environ={}) for split in ("train", "test"))
    assert (data.items.dtype, data.items.shape, data.vocabulary) == (torch.int64, (10_000, 10), 50)
    assert not data.is_image
    assert set(data.items.unique().tolist()) <= set(range(50))
    assert hashlib.sha256(data.items.numpy().tobytes()).hexdigest() == SMALL
    assert len({item.numpy().tobytes() for item in data.items} & {item.numpy().tobytes() for item in test.items}) < 100


SMALL = "c697cc2c430fd1934d366e802af50d1e50b31d3bfc3df7e4d970b56629e10e4d"


def test_the_likelihoods_of_all_sequences_sum_to_one() -> None:
    """Of three tokens and three places, there are 27."""
    every = np.array(list(itertools.product(range(3), repeat=3)))
    assert np.exp(-3 * TINY.nll(every)).sum() == pytest.approx(1)


def test_sequences_are_drawn_as_often_as_they_are_likely() -> None:
    """The shares of 50,000 draws are the likelihoods."""
    drawn = TINY.draw(RandomState(0), 50_000)
    kinds, counts = np.unique(drawn, axis=0, return_counts=True)
    assert np.abs(counts / 50_000 - np.exp(-3 * TINY.nll(kinds))).max() < 0.01


def test_the_published_sizes() -> None:
    """5,000 tokens and a length of 20; random tokens are unlikely, as a new generator's are."""
    assert (ORACLE.vocabulary, ORACLE.length) == (5_000, 20)
    random = RandomState(0).randint(50, size=(500, 10))
    assert ORACLE_SMALL.nll(random).mean() > 2 * ORACLE_SMALL.nll(load("oracle-small", environ={}).items[:500].numpy()).mean()
