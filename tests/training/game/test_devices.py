"""Every tensor of an update lies on the device of the data, as far as that can be seen without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
import torch
from torch import Tensor

from tests.training.conftest import REHEARSED, few_updates, tiny_config, tiny_context
from training.game import loop
from training.game.loop import play
from training.game.objective import loss
from training.game.step import StepContext
from training.recipes import CATALOGUE
from training.run.job import set_up

P = ParamSpec("P")
R = TypeVar("R")


def elsewhere(function: Callable[P, R]) -> Callable[P, R]:
    """The function with another default device: a tensor that it makes without naming one cannot meet those of the data."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.device("meta"):
            return function(*args, **kwargs)

    return call


def play_elsewhere(name: str, folder: Path, run: Path) -> None:
    """One step of a recipe whose losses, nets, penalties and gradients find another default device."""
    with few_updates(name), pytest.MonkeyPatch.context() as patch:
        game, _ = set_up(tiny_config(name, folder, steps=1), tiny_context(run))
        with torch.device("meta"):
            latents = game.recipe.sample_latents(game.latents, 8, game.device)
        assert {values.device for values in latents.values()} == {game.device}
        patch.setattr(game, "compute", elsewhere(game.compute))
        patch.setattr(loop, "_mean_gradient", elsewhere(loop._mean_gradient))
        list(play(game, 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", REHEARSED)
def test_no_tensor_of_an_update_is_left_on_the_default_device(name: str, picture_folder: Path, tmp_path: Path) -> None:
    """On a GPU such a tensor would be on the CPU, and the update would end with an error there only."""
    play_elsewhere(name, picture_folder, tmp_path)


def test_a_tensor_that_is_left_there_is_found(picture_folder: Path, tmp_path: Path) -> None:
    """A loss that makes its targets without a device is such a loss."""

    @loss
    def d_careless(ctx: StepContext) -> Tensor:
        return (ctx.on_real.logit - torch.ones(len(ctx.real.x))).square().mean()

    recipe = CATALOGUE["toy1d"]
    first, *others = recipe.players
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CATALOGUE, "toy1d", replace(recipe, players=(replace(first, loss=d_careless), *others)))
        with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
            play_elsewhere("toy1d", picture_folder, tmp_path)
