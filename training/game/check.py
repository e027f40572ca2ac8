"""Check that a recipe's parts fit together, before the first step: each mistake is one sentence that says where it is."""

from __future__ import annotations

import copy
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn

from contract import CardError, Latents
from contract.card import check_latent_names
from contract.pictures import PICTURE
from training.errors import RecipeError
from training.game.batches import Batches
from training.game.objective import Loss
from training.game.priors import from_priors
from training.game.recipe import Recipe
from training.game.step import DiscriminatorOutput

GENERATOR, DISCRIMINATOR = re.compile(r"G\d*"), re.compile(r"D\d*")
"""Names of the nets that take the role of G or of D: ``G``, ``G1``, ``D``, ``D1``."""
MOST_STEPS = 10**6
"""Steps whose updates are looked at: a run may have any number."""
LATE = 10**9
"""A step in the last phase of any schedule."""


def check_parts(recipe: Recipe, nets: Mapping[str, nn.Module], latents: Latents) -> None:
    """Check names: latents, nets, players, losses, the schedule, the average and the conditions.

    Raises:
        RecipeError: what is wrong, and what would be right.
    """
    try:
        check_latent_names(latents)
    except CardError as error:
        raise RecipeError(recipe.name, str(error).removeprefix("card.")) from error
    if not any(map(GENERATOR.fullmatch, nets)):
        raise RecipeError(recipe.name, f"nets must make a net named G, or G1, G2, ..., got {_listed(nets)}")
    for player in recipe.players:
        loss: object = player.loss
        if not isinstance(loss, Loss):
            found = getattr(loss, "__name__", type(loss).__name__)
            raise RecipeError(
                recipe.name, f"its loss must be a Loss, got the function {found}: put @loss above it", player=player.name
            )
        for name in player.nets:
            if name not in nets:
                raise RecipeError(recipe.name, f"nets must make its net {name}, got {_listed(nets)}", player=player.name)
    _check_owners(recipe, nets)
    _check_schedule(recipe)
    for name in recipe.ema.nets if recipe.ema else ():
        if name not in nets:
            raise RecipeError(recipe.name, f"ema averages the net {name}, which nets must make, got {_listed(nets)}")
    inputs = (*latents, *([PICTURE] if recipe.needs_picture else []))
    for name in recipe.conditions:
        if name not in inputs:
            raise RecipeError(recipe.name, f"conditions must be names of G's inputs ({_listed(inputs)}), got {name}")


def _check_owners(recipe: Recipe, nets: Mapping[str, nn.Module]) -> None:
    owners = Counter(name for player in recipe.players for name in player.nets if not player.shares_nets)
    sharers = {name for player in recipe.players for name in player.nets if player.shares_nets}
    for name, net in nets.items():
        has_weights = any(parameter.requires_grad for parameter in net.parameters())
        if has_weights and not owners[name] and name not in sharers:
            raise RecipeError(recipe.name, "no player trains it: name it in a player's nets, or freeze its weights", net=name)
        if owners[name] > 1:
            both = _listed(player.name for player in recipe.players if name in player.nets)
            raise RecipeError(recipe.name, f"one player must train it, got {both}", net=name)


def _check_schedule(recipe: Recipe) -> None:
    players = [player.name for player in recipe.players]
    steps = chain(range(min(recipe.steps, MOST_STEPS)), (LATE,))
    updates = {u.players for step in steps for u in recipe.schedule.updates(step)}
    _check_sharing(recipe, updates)
    scheduled = {name for names in updates for name in names}
    unknown = scheduled - set(players)
    if unknown:
        raise RecipeError(recipe.name, f"the schedule must name players ({_listed(players)}), got {_listed(sorted(unknown))}")
    for name in players:
        if name not in scheduled:
            raise RecipeError(recipe.name, f"the schedule {recipe.schedule} never updates it", player=name)


def _check_sharing(recipe: Recipe, updates: Iterable[tuple[str, ...]]) -> None:
    """Check that no update trains a net twice."""
    for names in updates:
        trained = Counter(net for player in recipe.players if player.name in names for net in player.nets)
        for net, count in trained.items():
            if count > 1:
                raise RecipeError(recipe.name, f"one player of an update must train it, got {_listed(names)}", net=net)


def check_shapes(recipe: Recipe, nets: Mapping[str, nn.Module], latents: Latents, batches: Batches) -> None:
    """Check the outputs of generators and discriminators on one batch, by copies of the nets.

    Raises:
        RecipeError: what is wrong, and what would be right.
    """
    nets = copy.deepcopy(dict(nets))
    sampler = recipe.sampler(nets)
    with torch.no_grad():
        real = batches.at(0)
        real = recipe.transform_real(real) if recipe.transform_real else real
        z = recipe.sample_latents(latents, len(real.x), batches.data.device)
        if recipe.picture and recipe.needs_picture:
            z = {**z, PICTURE: recipe.picture(real.x)}
        for name in filter(GENERATOR.fullmatch, nets):
            if sampler is nets[name] or _is_fed_by(z, nets[name]):
                wrong = partial(RecipeError, recipe.name, player=_owner(recipe, name), net=name)
                _check_samples(wrong, nets[name], z, real.x)
        if sampler not in nets.values() and not recipe.picture:
            drawn = from_priors(latents, len(real.x), real.x.device)
            _check_samples(lambda why: RecipeError(recipe.name, f"sampler: {why}"), sampler, drawn, real.x)
        conditioning = {name: z[name] if real.y is None or name == PICTURE else real.y for name in recipe.conditions}
        for name in filter(DISCRIMINATOR.fullmatch, nets):
            _check_discriminator(recipe, name, nets[name], real.x, conditioning)


def _is_fed_by(z: Mapping[str, Tensor], net: nn.Module) -> bool:
    """Whether the net needs nothing but latents; a loss gives the others their inputs, and the sampler is checked for them."""
    needed = (p for p in inspect.signature(net.forward).parameters.values() if p.default is p.empty)
    return all(p.name in z or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in needed)


def _check_samples(wrong: Callable[[str], RecipeError], net: nn.Module, z: Mapping[str, Tensor], real: Tensor) -> None:
    try:
        fake = net(**z)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise wrong(f"its forward must take the latents {_shapes(z)}, got {_first_line(error)}") from error
    found = list(fake.shape) if isinstance(fake, Tensor) else type(fake).__name__
    if found != list(real.shape):
        raise wrong(f"its samples must have the shape of a real batch, {list(real.shape)}, got {found}")


def _check_discriminator(recipe: Recipe, name: str, net: nn.Module, x: Tensor, conditioning: Mapping[str, Tensor]) -> None:
    wrong = partial(RecipeError, recipe.name, player=_owner(recipe, name), net=name)
    try:
        output = net(x, **conditioning)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise wrong(f"its forward must take {_shapes({'x': x, **conditioning})}, got {_first_line(error)}") from error
    if not isinstance(output, DiscriminatorOutput):
        raise wrong(f"its forward must return a DiscriminatorOutput, got {type(output).__name__}")
    shape = list(output.logit.shape)
    if len(shape) not in (1, 2) or shape[1:] == [1]:
        raise wrong(f"its logit must be [N], or [N,K] for K > 1 classes, got {shape}: use logit.flatten()")


def _owner(recipe: Recipe, net: str) -> str | None:
    return next((player.name for player in recipe.players if net in player.nets), None)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
