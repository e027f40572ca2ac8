"""A recipe whose parts do not fit is refused before the first step, with one sentence that says where the mistake is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from contract import Categorical, Normal
from training.data import load
from training.errors import RecipeError
from training.game.check import check_shapes
from training.game.loop import Game
from training.game.objective import Loss
from training.game.optimisers import Optimiser, adam, sgd
from training.game.recipe import Ema, Recipe
from training.game.schedules import Schedule, Update, alternate, phases, simultaneous
from training.game.step import DiscriminatorOutput, StepContext
from training.recipes import CATALOGUE

RIGHT = CATALOGUE["parabola"]
D, G = RIGHT.players


def mistake(recipe: Recipe) -> str:
    """The sentence with which a recipe on the points of ring8 is refused; empty for a right one."""
    recipe = replace(recipe, batch=4)
    try:
        game = Game(recipe, load("ring8", environ={}), seed=0)
        check_shapes(recipe, game.nets, game.latents, game.batches)
    except RecipeError as error:
        return str(error)
    return ""


def with_net(name: str, net: Callable[[nn.Module], nn.Module]) -> Recipe:
    """The right recipe with one net changed."""

    def nets(shape: tuple[int, ...], latents: Any) -> dict[str, nn.Module]:
        made = RIGHT.nets(shape, latents)
        return {**made, name: net(made.get(name, nn.Linear(2, 2)))}

    return replace(RIGHT, nets=nets)


class Around(nn.Module):
    """A net whose output is changed by a function."""

    def __init__(self, inner: nn.Module, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, *args: Tensor, **named: Tensor) -> object:
        return self.change(self.inner(*args, **named))


def around(name: str, change: Callable[[Any], Any]) -> Recipe:
    return with_net(name, lambda net: Around(net, change))


def undecorated(ctx: StepContext) -> Tensor:
    return ctx.on_real.logit.mean()


def with_optimiser(optimiser: Optimiser) -> Recipe:
    """The right recipe with another optimiser of D."""
    return replace(RIGHT, players=(replace(D, optimiser=optimiser), G))


MISTAKES = {
    "a tensor": (
        around("D", lambda output: output.logit),
        "recipe parabola, player D, net D: its forward must return a DiscriminatorOutput, got Tensor",
    ),
    "logit [N,1]": (
        around("D", lambda output: replace(output, logit=output.logit[:, None])),
        "recipe parabola, player D, net D: its logit must be [N], or [N,K] for K > 1 classes, got [4, 1]: use logit.flatten()",
    ),
    "sample shape": (
        around("G", lambda x: torch.cat([x, x], 1)),
        "recipe parabola, player G, net G: its samples must have the shape of a real batch, [4, 2], got [4, 4]",
    ),
    "no decorator": (
        replace(RIGHT, players=(replace(D, loss=cast(Loss, undecorated)), G)),
        "recipe parabola, player D: its loss must be a Loss, got the function undecorated: put @loss above it",
    ),
    "missing net": (
        replace(RIGHT, players=(replace(D, nets=("D", "E")), G)),
        "recipe parabola, player D: nets must make its net E, got G, D",
    ),
    "no generator": (
        replace(RIGHT, nets=lambda shape, latents: {"D": nn.Linear(2, 2)}),
        "recipe parabola: nets must make a net named G, or G1, G2, ..., got D",
    ),
    "untrained net": (
        with_net("Q", lambda net: net),
        "recipe parabola, net Q: no player trains it: name it in a player's nets, or freeze its weights",
    ),
    "two owners": (
        replace(RIGHT, players=(D, replace(G, nets=("G", "D")))),
        "recipe parabola, net D: one player must train it, got D, G",
    ),
    "two owners in one update": (
        replace(RIGHT, players=(D, replace(G, nets=("G", "D"), shares_nets=True)), schedule=simultaneous("D", "G")),
        "recipe parabola, net D: one player of an update must train it, got D, G",
    ),
    "unknown player": (
        replace(RIGHT, schedule=simultaneous("D", "G", "E")),
        "recipe parabola: the schedule must name players (D, G), got E",
    ),
    "idle player": (
        replace(RIGHT, schedule=simultaneous("D")),
        "recipe parabola, player G: the schedule simultaneous never updates it",
    ),
    "averaged net": (
        replace(RIGHT, ema=Ema(0.9, nets=("H",))),
        "recipe parabola: ema averages the net H, which nets must make, got G, D",
    ),
    "latent called as a parameter is": (
        replace(RIGHT, latents=lambda classes: {"z": Normal(2), "n": Categorical(3)}),
        "recipe parabola: latents gives the parameter 'n', which is reserved or not 1..32 letters, digits and underscores",
    ),
    "nets in a list": (
        replace(RIGHT, nets=cast(Any, lambda shape, latents: [nn.Linear(2, 2), nn.Linear(2, 1)])),
        'recipe parabola: nets must return the nets by name, as {"G": generator, "D": discriminator}, got a list',
    ),
    "nets that are no function": (
        replace(RIGHT, nets=cast(Any, {"G": nn.Linear(2, 2)})),
        "recipe parabola: nets must be a function of a sample's shape and the latents, got a dict",
    ),
    "nets of another argument": (
        replace(RIGHT, nets=cast(Any, lambda shape: {"G": nn.Linear(2, 2)})),
        "recipe parabola: nets must be a function of a sample's shape and the latents: too many positional arguments",
    ),
    "a class in the place of a net": (
        replace(RIGHT, nets=cast(Any, lambda shape, latents: {"G": nn.Identity})),
        "recipe parabola, net G: nets must return a torch.nn.Module, got the type Identity",
    ),
    "unknown argument of an optimiser": (
        with_optimiser(Optimiser("mine", lambda p: torch.optim.SGD(p, learnrate=0.1))),  # type: ignore[call-arg]
        "recipe parabola, player D: its optimiser mine cannot be made: SGD.__init__() got an unexpected keyword argument"
        " 'learnrate'; it takes lr, momentum, dampening, weight_decay, nesterov, maximize, foreach, differentiable, fused",
    ),
    "wrong argument of an optimiser": (
        with_optimiser(adam(-1)),
        "recipe parabola, player D: its optimiser adam(-1, (0.9, 0.999)) cannot be made: Invalid learning rate: -1",
    ),
    "a function in the place of an optimiser": (
        with_optimiser(cast(Optimiser, adam)),
        "recipe parabola, player D: its optimiser must be made by training.game.optimisers, as adam(2e-4),"
        " got the function adam",
    ),
    "unknown setting": (
        replace(RIGHT, players=(replace(D, optimiser=sgd(0.1, 0), hyperparameters=lambda step, steps: {"rate": 1.0}), G)),
        "recipe parabola, player D: its hyperparameters must set what SGD has"
        " (dampening, differentiable, foreach, fused, lr, maximize, momentum, nesterov, weight_decay), got rate",
    ),
    "condition": (
        replace(RIGHT, conditions=("y",)),
        "recipe parabola: conditions must be names of G's inputs (z), got y",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(name: str) -> None:
    """It names the recipe, the player and the net, what is wrong and what would be right."""
    recipe, sentence = MISTAKES[name]
    assert mistake(recipe) == sentence


def test_a_net_that_cannot_take_its_inputs_is_named_with_them() -> None:
    """The inputs' names and shapes, then the first line of the net's own error."""
    found = mistake(with_net("D", lambda net: nn.Linear(3, 1)))
    assert found.startswith("recipe parabola, player D, net D: its forward must take x [4, 2], got RuntimeError: mat1 and mat2")
    found = mistake(with_net("G", lambda net: nn.Linear(2, 2)))
    assert found.startswith("recipe parabola, player G, net G: its forward must take the latents z [4, 2], got TypeError: ")


class Conditioned(nn.Module):
    """A generator that needs an input from a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z: Tensor, coarse: Tensor) -> Tensor:
        return self.scale * z + coarse


class Composed(nn.Module):
    """A sampler of ``side`` numbers a sample."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :1].expand(-1, self.side)


def test_a_sampler_of_its_own_is_checked_in_the_place_of_a_generator_that_needs_more_than_latents() -> None:
    """G's own inputs come from a loss; what is exported must take the latents and give samples."""
    conditioned = with_net("G", lambda net: Conditioned())
    assert "missing 1 required positional argument: 'coarse'" in mistake(conditioned)
    assert mistake(replace(conditioned, sampler=lambda nets: Composed(2))) == ""
    expected = "recipe parabola: sampler: its samples must have the shape of a real batch, [4, 2], got [4, 3]"
    assert mistake(replace(conditioned, sampler=lambda nets: Composed(3))) == expected


def test_right_recipes_pass() -> None:
    """Several phases, a frozen net that no player trains, and logits of several classes are no mistakes."""
    assert mistake(RIGHT) == ""
    assert (
        mistake(replace(RIGHT, schedule=phases((10, simultaneous("D")), last=Schedule("g", lambda step: (Update(("G",)),)))))
        == ""
    )
    assert mistake(with_net("features", lambda net: net.requires_grad_(False))) == ""
    assert mistake(around("D", lambda output: replace(output, logit=torch.zeros(4, 3)))) == ""
    assert mistake(replace(RIGHT, schedule=alternate(2))) == ""


def test_the_check_changes_no_weight_and_no_statistic() -> None:
    """It runs on copies: batch normalisation's statistics are as initialised afterwards."""
    norm = nn.BatchNorm1d(2)
    recipe = with_net("D", lambda net: Around(norm, lambda x: DiscriminatorOutput(x.sum(1), x)))
    assert mistake(recipe) == ""
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 0


@pytest.mark.slow
def test_a_run_of_many_steps_is_checked_at_once() -> None:
    """Not each of a thousand million steps is listed: the first million and the last phase are looked at."""
    assert mistake(replace(RIGHT, steps=10**9 - 1)) == ""
