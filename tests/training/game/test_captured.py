"""Updates of small nets as graphs: the same bits, and eager where a graph is not right."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from training.data import load
from training.errors import NonFinite
from training.game import graphs as choosing
from training.game.captured import is_small
from training.game.gates import worse_only
from training.game.loop import Game, play
from training.game.objective import Loss, Term
from training.game.recipe import Nets, Recipe
from training.game.stacked import StackedGame
from training.nets import mlp
from training.penalties import r1
from training.recipes import CATALOGUE

WARM = 3


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs from the third evaluation of an update on."""
    monkeypatch.setattr(choosing, "WARM", WARM)


def game_of(recipe: Recipe, *, seed: int = 0, is_captured: bool = True) -> Game:
    data = load("digits" if recipe.data.startswith("mnist") else recipe.data, environ={})
    game = Game(recipe, data, seed=seed)
    game.graphs.are_on &= is_captured
    return game


def with_dropout() -> Recipe:
    """The one-number game with a D that drops half of its hidden values."""
    toy = CATALOGUE["toy1d"]

    def nets(*how: object) -> Nets:
        d = mlp.Discriminator(nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5)), 8)
        return {"G": toy.nets(*how)["G"], "D": d}  # type: ignore[arg-type]

    return replace(toy, nets=nets)


def with_penalty(penalty: Loss) -> Recipe:
    """The one-number game with a penalty for D."""
    toy = CATALOGUE["toy1d"]
    d, *others = toy.players
    return replace(toy, players=(replace(d, loss=d.loss + penalty), *others))


RECIPES = {
    **{name: CATALOGUE[name] for name in ("toy1d_minibatch", "vanilla")},
    "batch statistics": replace(CATALOGUE["pacgan2_ring8_small"], batch=8),
    "dropout": with_dropout(),
    "a gate": replace(CATALOGUE["toy1d"], gate=worse_only()),
    "a penalty at every step": with_penalty(r1(1.0)),
    "a penalty at every second step": with_penalty(r1(1.0, every=2)),
}


def same(one: Game, other: Game) -> bool:
    nets = [
        (a, b) for name in one.nets for a, b in zip(*(g.nets[name].state_dict().values() for g in (one, other)), strict=True)
    ]
    return all(torch.equal(a, b) for a, b in nets) and one.record() == other.record()


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_graph_computes_the_same_bits(name: str) -> None:
    """Weights, buffers, draws and records equal those of the game without graphs."""
    graphs, eager = game_of(RECIPES[name]), game_of(RECIPES[name], is_captured=False)
    for game in (graphs, eager):
        list(play(game, 8))
    assert graphs.graphs.found
    assert same(graphs, eager)


@pytest.mark.slow
def test_a_resumed_game_ends_in_the_same_bits() -> None:
    """Saved while it computes by graphs, a game goes on without them until it is warm, and ends where it would have ended."""
    whole, again = game_of(CATALOGUE["toy1d"]), game_of(CATALOGUE["toy1d"])
    list(play(whole, 5))
    state = copy.deepcopy(whole.state())
    list(play(whole, 10))
    again.restore(state)
    list(play(again, 10))
    assert same(whole, again)


@pytest.mark.slow
def test_a_stack_is_captured_too() -> None:
    """Three seeds as one graph end in the bits of three seeds without."""
    graphs, eager = (StackedGame([game_of(CATALOGUE["toy1d"], seed=s) for s in range(3)]) for _ in range(2))
    eager.graphs.are_on = False
    for game in (graphs, eager):
        list(play(game, 8))
    assert graphs.graphs.found
    for a, b in zip(graphs.nets["G"].parameters(), eager.nets["G"].parameters(), strict=True):
        assert torch.equal(a, b)


def by_step() -> Loss:
    return Loss((Term("by_step", lambda ctx: ctx.on_fake.logit.mean() * (1 + ctx.step % 2)),))


@pytest.mark.slow
def test_a_loss_that_depends_on_the_step_is_not_captured() -> None:
    """D's update stays eager, G's is a graph."""
    toy = CATALOGUE["toy1d"]
    game = game_of(replace(toy, players=(replace(toy.players[0], loss=by_step()), toy.players[1])))
    list(play(game, WARM + 1))
    assert list(game.graphs.found) == [("G",)]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_tensor() -> None:
    """As without a graph, and nothing is updated."""
    game = game_of(CATALOGUE["toy1d"])
    list(play(game, WARM + 1))
    with torch.no_grad():
        game.nets["D"].head.weight[0, 0] = float("nan")
    before = copy.deepcopy(game.nets["D"].body.state_dict())
    with pytest.raises(NonFinite, match=r"D\.head\.weight"):
        list(play(game, WARM + 2))
    assert all(torch.equal(value, before[name]) for name, value in game.nets["D"].body.state_dict().items())


def test_convolutions_and_wide_nets_are_not_small() -> None:
    """Their operations take longer than calling them."""
    assert is_small({"D": nn.Linear(100, 100)})
    assert not is_small({"D": nn.Conv2d(1, 1, 3)})
    assert not is_small({"D": nn.Linear(1001, 1000)})
