"""What a run directory receives at which step, and what is left of it where the game fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import tiny_context
from training.data import load
from training.game.loop import Game, play
from training.recipes import CATALOGUE
from training.run import checkpoint, keeping
from training.run.keeping import Keeper

STEPS = 6
Kept = dict[str, list[int]]


class Recorder:
    """Notes the steps of what it is given; its pictures cannot be drawn."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def samples(self, step: int, images: object) -> None:
        self._kept["samples"].append(step)

    def log(self, step: int, *_: object) -> None:
        self._kept["log"].append(step)

    def sync(self) -> None:
        pass

    def finish(self) -> None:
        raise OSError("the disk is full")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """The steps at which samples, scalars and checkpoints are kept, and at which there is an evaluation."""
    kept: Kept = {name: [] for name in ("samples", "log", "evaluations", "checkpoints")}

    def save(run: Path, state: dict[str, Any], *, keep: int) -> None:
        kept["checkpoints"].append(state["step"])

    monkeypatch.setattr(keeping, "Recorder", lambda *_, **__: Recorder(kept))
    monkeypatch.setattr(checkpoint, "save", save)
    return kept


@pytest.fixture
def keeper_of(tmp_path: Path, kept: Kept) -> Callable[..., tuple[Game, Keeper]]:
    """A game of six steps with its keeper: a grid after two of them, an evaluation after three, scalars after four."""

    def make(checkpoint_seconds: float = 0) -> tuple[Game, Keeper]:
        data = load("gaussian1d", environ={})
        game = Game(replace(CATALOGUE["toy1d"], steps=STEPS, batch=8, log_every=4), data, seed=0)

        def evaluate(*_: object) -> tuple[None, dict[str, float]]:
            kept["evaluations"].append(game.step)
            return None, {}

        context = replace(tiny_context(tmp_path), grids=3, checkpoint_seconds=checkpoint_seconds)
        return game, Keeper(game, data, context, evaluate, lambda text: None)

    return make


@pytest.mark.slow
def test_each_thing_is_kept_at_its_own_steps(keeper_of: Callable[..., tuple[Game, Keeper]], kept: Kept) -> None:
    """The last step keeps them all; a save that is asked for keeps a checkpoint alone."""
    game, keeper = keeper_of()
    keeper.begin()
    recorded = [bool(keeper.keep(is_saved=step == 5)) for step in play(game, STEPS)]
    assert kept == {"samples": [0, 2, 4, 6], "log": [4, 6], "evaluations": [3, 6], "checkpoints": [3, 5, 6]}
    assert recorded == [step in kept["log"] for step in range(1, STEPS + 1)]
    assert [keeper.is_due(step) for step in range(1, STEPS + 1)] == [False, True, True, True, False, True]


@pytest.mark.slow
def test_checkpoints_keep_their_distance_in_time(keeper_of: Callable[..., tuple[Game, Keeper]], kept: Kept) -> None:
    """An evaluation soon after the last checkpoint is followed by none; the last step is."""
    game, keeper = keeper_of(checkpoint_seconds=60)
    for _ in play(game, STEPS):
        keeper.keep(is_saved=False)
    assert (kept["evaluations"], kept["checkpoints"]) == ([3, 6], [6])


def test_pictures_that_cannot_be_drawn_hide_no_other_error(keeper_of: Callable[..., tuple[Game, Keeper]]) -> None:
    """They are an error of a game that ended; where it failed, its own error is what is raised."""
    with pytest.raises(OSError, match="disk is full"), keeper_of()[1]:
        pass
    with pytest.raises(ZeroDivisionError), keeper_of()[1]:
        raise ZeroDivisionError
