"""The supervised twin of Salimans' game."""

from __future__ import annotations

from dataclasses import replace

import torch

from training.data import load
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
