"""The progressive GAN's game: idle blocks, growth that continues after a resume, and the export while a block fades in."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor

from contract import draw
from tests.training.conftest import quick_classifiers, tiny_config, tiny_context
from tests.training.deals import Linear, sample_latents
from training.data import load
from training.export.sample_grid import sample_game
from training.game.loop import Game, play
from training.game.recipe import Recipe
from training.game.step import StepContext
from training.losses.growing import on_faded_reals
from training.losses.wasserstein import d_wasserstein
from training.nets.growing import Growing, Growth
from training.penalties import drift
from training.recipes import CATALOGUE
from training.run.job import MODEL, set_up, train


def growing_fast(name: str = "progan_small") -> Recipe:
    """One step stable, two fading: heights 0, 0, .5, 1, 1, 1.5, 2, 2, 2.5, 3."""
    recipe = CATALOGUE[name]
    return replace(recipe, batch=8, players=tuple(replace(player, before=Growth(1, 2)) for player in recipe.players))


def game_of(recipe: Recipe, side: int = 16) -> Game:
    return Game(recipe, load("mnist5k", size=side, environ={}), seed=0)


def net(game: Game, role: str) -> Growing:
    found = game.nets[role]
    assert isinstance(found, Growing)
    return found


def test_drift_is_the_mean_square_of_the_scores_of_reals() -> None:
    """Scores 1.5 and 4.5: .001 * 11.25."""
    assert drift(0.001)(sample_latents()).item() == pytest.approx(0.01125)


class Halving(Linear):
    """A discriminator whose present level shows reals at half their brightness."""

    def fade(self, x: Tensor) -> Tensor:
        return x / 2


def test_a_critic_is_trained_on_faded_reals_and_on_the_fakes_as_they_are() -> None:
    """Scores .75 and 2.25 of reals, -3 and 1.5 of fakes: -.75 - 1.5."""
    ctx = sample_latents()
    ctx = StepContext({**ctx.nets, "D": Halving(1.5)}, ctx.real, ctx.latents, step=0, moving=frozenset("D"))
    assert on_faded_reals(d_wasserstein)(ctx).item() == pytest.approx(-2.25)


@pytest.mark.slow
def test_blocks_that_take_no_part_keep_weights_and_moments() -> None:
    """At 4x4 the blocks of 8x8 have no state; at 8x8 the layer that made 4x4 images rests with the moments that it had."""
    game = game_of(growing_fast())
    g, state = game.nets["G"], game.optimisers["G"].state
    before = copy.deepcopy(g.state_dict())
    list(play(game, 2))
    assert net(game, "G").now() == (0, 1.0)
    for key, weight in g.named_parameters():
        is_idle = key.startswith(("blocks.1", "blocks.2", "to_image.1", "to_image.2"))
        assert torch.equal(weight, before[key]) is is_idle, key
        assert (weight in state) is not is_idle, key
    list(play(game, 3))
    assert net(game, "G").now() == (1, 0.5)
    old = dict(g.named_parameters())["to_image.0.weight"]
    moments = copy.deepcopy(state[old])
    list(play(game, 5))
    assert net(game, "G").now() == (1, 1.0)
    assert torch.equal(state[old]["exp_avg_sq"], moments["exp_avg_sq"])
    assert state[old]["step"] == moments["step"] == 3
    assert state[dict(g.named_parameters())["blocks.1.1.weight"]]["step"] == 3


@pytest.mark.slow
def test_the_average_grows_with_the_net() -> None:
    """Samples are drawn from it: it is at the same level and share."""
    game = game_of(growing_fast())
    list(play(game, 6))
    average = game.averages["G"]
    assert isinstance(average, Growing)
    assert average.now() == net(game, "G").now() == net(game, "D").now() == (2, 0.5)


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    if isinstance(a, dict):
        return [d for key in {**a, **b} for d in _differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, list | tuple):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in _differences(x, y, f"{path}.{i}")]
    return [] if (torch.equal(a, b) if isinstance(a, Tensor) else a == b) else [path]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 6, 8])
def test_a_game_that_is_resumed_while_a_block_fades_in_ends_bit_for_bit_the_same(stop: int) -> None:
    """Stopped behind a step at half a share (3, 6) and behind a stable one, ten steps make the same state."""
    whole, first, second = (game_of(growing_fast()) for _ in range(3))
    list(play(whole, 10))
    list(play(first, stop))
    second.restore(copy.deepcopy(first.state()))
    assert net(second, "G").now() == net(first, "G").now()
    list(play(second, 10))
    assert _differences(whole.state(), second.state()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "now"), [(6, (2, 0.5)), (7, (2, 1.0))])
def test_a_generator_is_exported_at_its_present_level(
    steps: int, now: tuple[int, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the last block's growth and whole: onnxruntime draws what torch draws."""
    torch.set_num_threads(1)
    monkeypatch.setitem(CATALOGUE, "progan_small", replace(growing_fast(), size=16))
    config, context = tiny_config("progan_small", tmp_path, steps=steps), tiny_context(tmp_path / "run")
    with quick_classifiers():
        assert train(config, context)
    game, data = set_up(config, context)
    list(play(game, steps))
    assert net(game, "G").now() == now
    session = onnxruntime.InferenceSession(context.run / MODEL, providers=["CPUExecutionProvider"])
    made = session.run(None, dict(draw(game.latents, list(range(5)))))[0]
    assert abs(made.astype(int) - sample_game(game, data, range(5)).astype(int)).max() <= 1
