"""Make a recipe's nets and optimisers; a recipe that cannot make them is refused with one sentence."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

import torch
from torch import nn

from contract import Latents
from training.errors import RecipeError, first_line
from training.game.optimisers import Optimiser
from training.game.recipe import Player, Recipe

UNKNOWN_ARGUMENT = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '\w+'")
"""What Python says of an argument that a class does not have."""


def make_nets(recipe: Recipe, shape: tuple[int, ...], latents: Latents) -> dict[str, nn.Module]:
    """The recipe's nets by name.

    Raises:
        RecipeError: ``nets`` is no such function, does not return nets by name, or has none for such samples: of an odd size.
    """
    right = "nets must be a function of a sample's shape and the latents"
    if not callable(recipe.nets):
        raise RecipeError(recipe.name, f"{right}, got {_kind(recipe.nets)}")
    try:
        inspect.signature(recipe.nets).bind(shape, latents)
    except TypeError as error:
        raise RecipeError(recipe.name, f"{right}: {error}") from error
    try:
        made: object = recipe.nets(shape, latents)
    except ValueError as error:
        raise RecipeError(recipe.name, f"no nets for samples of {list(shape)}: {error}") from error
    if not isinstance(made, Mapping):
        right = 'nets must return the nets by name, as {"G": generator, "D": discriminator}'
        raise RecipeError(recipe.name, f"{right}, got {_kind(made)}")
    for name, net in made.items():
        if not isinstance(net, nn.Module):
            raise RecipeError(recipe.name, f"nets must return a torch.nn.Module, got {_kind(net)}", net=str(name))
    return dict(made)


def make_optimiser(recipe: Recipe, player: Player, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of a player's weights.

    Raises:
        RecipeError: it cannot be made, or ``hyperparameters`` sets what it does not have.
    """
    optimiser: object = player.optimiser
    if not isinstance(optimiser, Optimiser):
        right = "its optimiser must be made by training.game.optimisers, as adam(2e-4)"
        raise RecipeError(recipe.name, f"{right}, got {_kind(optimiser)}", player=player.name)
    try:
        made = optimiser.make(weights)
    except (TypeError, ValueError) as error:
        why = first_line(error) + _arguments(error)
        raise RecipeError(recipe.name, f"its optimiser {optimiser} cannot be made: {why}", player=player.name) from error
    settings = made.param_groups[0].keys() - {"params"}
    changed = player.hyperparameters(0, recipe.steps) if player.hyperparameters else {}
    for name in changed.keys() - settings:
        right = f"hyperparameters must set what {type(made).__name__} has ({', '.join(sorted(settings))})"
        raise RecipeError(recipe.name, f"its {right}, got {name}", player=player.name)
    return made


def _arguments(error: Exception) -> str:
    """After an unknown argument of one of torch's optimisers, those that it takes."""
    found = UNKNOWN_ARGUMENT.match(str(error))
    if not found or not hasattr(torch.optim, found[1]):
        return ""
    taken = list(inspect.signature(getattr(torch.optim, found[1])).parameters)
    return f"; it takes {', '.join(taken[1:])}"


def _kind(value: object) -> str:
    """What a value is, in words: a function or a class by its name, anything else by its type's."""
    name = getattr(value, "__qualname__", None)
    return f"the {type(value).__name__} {name}" if name else f"a {type(value).__name__}"
