"""Means of what a game logs between two records."""

from __future__ import annotations

import pytest
import torch

from training.game.scalars import Means


def test_a_mean_is_over_what_was_added_since_the_last() -> None:
    """1 and 4, then 5 alone."""
    means = Means()
    for value in (1.0, 4.0):
        means.add("D/loss", torch.tensor(value))
    assert means.take() == {"D/loss": pytest.approx(2.5)}
    means.add("D/loss", torch.tensor(5.0))
    assert means.take() == {"D/loss": 5.0}
    assert means.take() == {}


def test_saving_in_between_changes_no_bit() -> None:
    """Thousands of values give the same sum whether they are added at once or in three parts, with a load between."""
    torch.manual_seed(0)
    values = torch.randn(3000).exp()
    whole, saved = Means(), Means()
    for number, value in enumerate(values):
        whole.add("loss", value)
        saved.add("loss", value)
        if number in (700, 1900):
            state, saved = saved.state(), Means()
            saved.load(state)
    assert whole.take() == saved.take()


def test_games_of_a_stack_receive_their_own_values() -> None:
    """Two games' values in one tensor go to the second game with what it had."""
    together, own = Means(), Means()
    own.add("loss", torch.tensor(1.0))
    for values in ([2.0, 3.0], [4.0, 5.0]):
        together.add("loss", torch.tensor(values))
    own.merge(together.state(), 1)
    assert own.take() == {"loss": 3.0}


def test_a_score_replaces_that_of_an_earlier_evaluation() -> None:
    """The mean of two evaluations would be the score of no nets; a state that was saved in between changes nothing."""
    for is_saved in (False, True):
        means = Means()
        means.replace("score/kid", torch.tensor(0.5))
        if is_saved:
            saved, means = means.state(), Means()
            means.load(saved)
        means.replace("score/kid", torch.tensor(0.25))
        assert means.take() == {"score/kid": 0.25}
