"""Several seeds of one game played together: each game is what it is alone, or the recipe is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from training.data import DataSet, load
from training.errors import NonFinite, TrainingError
from training.game.gates import worse_only
from training.game.loop import Game, play
from training.game.optimisers import adam, clipped
from training.game.recipe import Ema, Recipe
from training.game.stacked import StackedGame, check_together, difference, in_float64
from training.penalties import r1
from training.recipes import CATALOGUE

SEEDS = (3, 0, 7)


@cache
def data_of(name: str) -> DataSet:
    return load("digits" if name.startswith("mnist") else name, environ={})


def games_of(recipe: Recipe) -> list[Game]:
    return [Game(recipe, data_of(recipe.data), seed=s) for s in SEEDS]


def played(game: Game, steps: int) -> Game:
    list(play(game, steps))
    return game


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toy1d", "parabola_norm"])
def test_each_seed_is_the_game_played_alone(name: str) -> None:
    """After 20 steps weights differ by no more than 1e-5, records by no more than rounding, draws not at all."""
    recipe = CATALOGUE[name]
    games, together = games_of(recipe), StackedGame(games_of(recipe))
    played(together, 20)
    together.part()
    for game, found in zip(games, together.games, strict=True):
        played(game, 20)
        assert difference(game, found) <= 1e-5
        assert (found.step, found.batch, found.noise) == (game.step, game.batch, game.noise)
        assert found.record() == pytest.approx(game.record(), rel=1e-4, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toy1d_minibatch", "vanilla", "gan_ring8_small", "pacgan2_ring8_small"])
def test_in_float64_nothing_but_rounding_differs(name: str) -> None:
    """Minibatch discrimination and batch statistics too: where float32's rounding decides, float64 shows the same game."""
    recipe = replace(CATALOGUE[name], batch=8, ema=Ema(0.9))
    games = [in_float64(game) for game in games_of(recipe)]
    together = StackedGame([in_float64(game) for game in games_of(recipe)])
    played(together, 10)
    together.part()
    for game, found in zip(games, together.games, strict=True):
        assert difference(played(game, 10), found) <= 1e-9


@pytest.mark.slow
def test_games_that_were_parted_go_on_as_if_they_had_not_been() -> None:
    """Weights, averages, moments and counters return to the games: a new stack of them continues bit for bit."""
    recipe = replace(CATALOGUE["toy1d"], ema=Ema(0.9))
    whole, parted = StackedGame(games_of(recipe)), StackedGame(games_of(recipe))
    played(parted, 3)
    parted.part()
    again = played(StackedGame(parted.games), 6)
    played(whole, 6)
    for name, net in {**whole.nets, **whole.averages}.items():
        other = again.averages[name] if name in again.averages else again.nets[name]
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_a_game_that_fails_is_left_where_it_was() -> None:
    """A NaN weight in one game is reported with its seed; the others go on, and are what they are alone."""
    recipe = CATALOGUE["toy1d"]
    games, together = games_of(recipe), StackedGame(games_of(recipe))
    with torch.no_grad():
        together.nets["D"].head.weight[1] = float("nan")
    played(together, 2)
    together.part()
    assert list(together.failed) == [SEEDS[1]]
    assert "step 0: the loss of D of seed 0 is not finite" in str(together.failed[0])
    assert together.games[1].step == 0
    assert difference(played(games[2], 2), together.games[2]) <= 1e-5
    with torch.no_grad():
        together.nets["D"].head.weight.fill_(float("nan"))
    with pytest.raises(NonFinite):
        played(together, 3)


def recipe_with(part: str) -> Recipe:
    toy = CATALOGUE["toy1d"]
    d, g = toy.players
    changed = {
        "a gate": replace(toy, gate=worse_only()),
        "a penalty": replace(toy, players=(replace(d, loss=d.loss + r1(1.0)), g)),
        "a clipped gradient": replace(toy, players=(replace(d, optimiser=clipped(adam(1e-3), 1e-3)), g)),
    }
    return changed[part] if part in changed else CATALOGUE[part]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("renom", "the net D has dropout, which each game must draw by itself"),
        ("dcgan_small", "the net G has a ConvTranspose2d, and only dense layers are faster together"),
        ("salimans", "its nets have .* weights; above 300,000 games together take as long as one after the other"),
        ("a gate", r"the gate worse_only\(0.3\) decides in each game who updates"),
        ("a penalty", "One of the differentiated Tensors does not require grad|does not require grad"),
        ("a clipped gradient", "weights differ from the game played alone by"),
    ],
)
def test_a_game_that_cannot_be_stacked_is_refused_with_the_reason(part: str, why: str) -> None:
    """The sentence names the recipe, the reason and the other way."""
    recipe = replace(recipe_with(part), batch=8)
    data = load("mnist5k" if recipe.data.startswith("mnist") else recipe.data, environ={})
    games = [Game(recipe, data, seed=s) for s in (0, 1)]
    with pytest.raises(TrainingError, match=f"{recipe.name} cannot be trained for several seeds at once: .*({why}).*--seed"):
        check_together(games)


def test_games_in_bfloat16_are_refused() -> None:
    """Together they are played in float32, which would not be the game that was asked for."""
    games = [Game(CATALOGUE["toy1d"], data_of("gaussian1d"), seed=s, precision="bfloat16") for s in (0, 1)]
    with pytest.raises(TrainingError, match="the games must compute in float32, got bfloat16"):
        check_together(games)


def test_the_trial_changes_no_game() -> None:
    """Two of them are played on copies."""
    games = games_of(CATALOGUE["toy1d"])
    check_together(games)
    assert [game.step for game in games] == [0, 0, 0]
    assert all(difference(a, b) == 0 for a, b in zip(games, games_of(CATALOGUE["toy1d"]), strict=True))
