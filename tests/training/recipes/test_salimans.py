"""The supervised twin of Salimans' game."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from training.data import load
from training.errors import TrainingError
from training.game.loop import Game, play
from training.recipes import CATALOGUE


def test_the_supervised_twin_trains_its_classifier_alone() -> None:
    """One step changes D and leaves G, which no player trains and the check of the parts accepts as frozen."""
    recipe = replace(CATALOGUE["salimans_supervised"], batch=20)
    game = Game(recipe, load("mnist5k", environ={}), seed=0)
    before = {role: [w.clone() for w in game.nets[role].parameters()] for role in ("D", "G")}
    list(play(game, 1))
    assert not all(map(torch.equal, before["D"], game.nets["D"].parameters()))
    assert all(map(torch.equal, before["G"], game.nets["G"].parameters()))


def test_too_few_samples_of_a_class_are_one_sentence() -> None:
    """Of the last class there are five, and ten are to be labelled."""
    data = load("mnist5k", environ={})
    assert data.labels is not None
    rows = torch.cat([torch.where(data.labels == label)[0][: 5 if label == 9 else 50] for label in range(10)])
    few = replace(data, items=data.items[rows], labels=data.labels[rows])
    with pytest.raises(TrainingError, match="too few samples for this recipe: class 9 has 5 samples, and 10 of each"):
        Game(CATALOGUE["salimans_small"], few, seed=0)
