"""The training loop: a recipe's nets, optimisers and averages, and the one function that trains them."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from contract.pictures import PICTURE
from training.data import DataSet
from training.errors import NonFinite
from training.game.batches import Batches, derive_seed, seed_generators
from training.game.check import check_parts
from training.game.evaluation import Evaluation, Unseen, compute_loss, first_non_finite
from training.game.gates import always
from training.game.graphs import Graphs
from training.game.optimisers import align_moments, with_strides_of
from training.game.parts import make_nets, make_optimiser
from training.game.precision import Precision, in_precision
from training.game.ranks import ALONE, Gradient, Ranks
from training.game.recipe import Player, Recipe
from training.game.scalars import Means
from training.game.schedules import Update
from training.game.step import StepContext


class Game:
    """Everything that changes while a recipe is trained; ``state`` and ``restore`` suffice for a resume."""

    def __init__(
        self, recipe: Recipe, data: DataSet, *, seed: int, precision: Precision = "float32", ranks: Ranks = ALONE
    ) -> None:
        """Initialise the nets from ``seed``, on the device of the data; of several ranks each has its part of the batches.

        Raises:
            DataError: the data hold too few samples for a batch, or it is too small, or the ranks cannot share one.
            RecipeError: the recipe's parts do not fit together.
        """
        self.recipe = recipe
        self.latents = recipe.latents(len(data.classes))
        self.batches = Batches(data, recipe.batch, seed=seed, pixels=recipe.pixels, ranks=ranks, least=recipe.least_batch)
        self.seed = seed
        self.precision = precision
        self.ranks = ranks
        self.device = data.device
        torch.manual_seed(seed)
        made = make_nets(recipe, data.shape, self.latents)
        self.nets = {name: _on_device(net, self.device) for name, net in made.items()}
        check_parts(recipe, self.nets, self.latents)
        if recipe.prepare:
            recipe.prepare(self.nets, self.batches, seed)
        self.callable_nets = ranks.callable_nets(in_precision(self.nets, precision, self.device))
        """The nets as losses call them."""
        self.averages = {name: copy.deepcopy(self.nets[name]) for name in (recipe.ema.nets if recipe.ema else ())}
        self.parameters = {p.name: [w for net in p.nets for w in self.nets[net].parameters()] for p in recipe.players}
        self.optimisers = {p.name: make_optimiser(recipe, p, self.parameters[p.name]) for p in recipe.players}
        self.step = 0
        self.batch = 0
        """Number of real batches used."""
        self.noise = 0
        """Number of draws of latents."""
        self.latest: dict[str, Tensor] = {}
        """The latest value of every logged scalar."""
        self.means = Means()
        """What was logged since the last ``record``."""
        self.prepare_graphs()

    def prepare_graphs(self) -> None:
        """Forget the graphs of updates, as after other tensors have become the weights."""
        game = weakref.proxy(self)  # so that a game without references is freed at once, on the GPU, too
        self.graphs = Graphs(
            self.recipe,
            self.nets,
            self.parameters,
            self.optimisers,
            self.device,
            lambda players, ctx: game.compute(players, ctx),
            partial(_apply_all, game),
        )
        self.graphs.are_on &= self.ranks.size == 1
        self._unseen = Unseen()

    @property
    def images(self) -> int:
        """Number of real samples used."""
        return self.batch * self.recipe.batch

    def sampling_nets(self) -> dict[str, nn.Module]:
        """The nets to draw samples from: averages where the recipe has them. They are not copies; their mode is kept."""
        return {**self.nets, **self.averages}

    def draw(self, update: Update, players: list[Player]) -> StepContext:
        """The samples of an update: the next real batch and latents, or the last ones again, as the update says."""
        self.batch += update.is_new_batch
        self.noise += update.is_new_noise
        recipe = self.recipe
        seed_generators(self.device, derive_seed(self.seed, self.noise, self.ranks.rank))
        real = self.batches.at(self.batch - 1)
        real = recipe.transform_real(real) if recipe.transform_real else real
        latents = recipe.sample_latents(self.latents, len(real.x), self.device)
        if recipe.picture and recipe.needs_picture:
            latents = {**latents, PICTURE: recipe.picture(real.x)}
        return StepContext(
            self.callable_nets,
            real,
            latents,
            step=self.step,
            moving=nets_of(players),
            conditions=recipe.conditions,
        )

    def compute(self, players: list[Player], ctx: StepContext) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Each player's loss by name, and what the losses log; nothing else changes."""
        return {player.name: compute_loss(player, ctx) for player in players}, ctx.logged

    def evaluate(self, players: list[Player], ctx: StepContext) -> Evaluation:
        """Compute each player's loss, and log what the losses log.

        Raises:
            NonFinite: a loss is not finite.
        """
        graph = self.graphs.of(players, ctx)
        evaluation = Evaluation(*self.compute(players, ctx)) if graph is None else graph(ctx)
        evaluation = replace(evaluation, logged=self.ranks.mean(evaluation.logged))
        self.check_finite(evaluation, players, ctx)
        for name, value in evaluation.logged.items():
            self.log(name, value.detach())
        return evaluation

    def check_finite(self, evaluation: Evaluation, players: list[Player], ctx: StepContext) -> None:
        """Raises NonFinite where a loss is not finite, on any rank; alone on a GPU, at one of the next updates."""
        if self.device.type == "cuda" and self.ranks.size == 1:
            self._unseen.add(self.step, {player.name: evaluation.logged[f"{player.name}/loss"] for player in players})
            return
        for player in players:
            if not math.isfinite(evaluation.logged[f"{player.name}/loss"].item()):
                is_own = not evaluation.losses[player.name].isfinite()
                found = first_non_finite(ctx, dict(player.loss.parts(ctx))) if is_own else ""
                raise NonFinite(step=self.step, player=player.name, tensor=self.ranks.name_first(found))

    def settle(self) -> None:
        """Wait until every update so far is known to have had finite losses.

        Raises:
            NonFinite: one had not.
        """
        self._unseen.settle()

    def log(self, name: str, value: Tensor) -> None:
        """Count a scalar towards the next record."""
        self.means.add(name, value)
        self.latest[name] = value

    def log_score(self, name: str, value: Tensor) -> None:
        """Let the next record have this value, and no mean with an earlier one."""
        self.means.replace(name, value)
        self.latest[name] = value

    def record(self) -> dict[str, float]:
        """The mean of every scalar logged since the last call.

        Raises:
            NonFinite: as ``settle``.
        """
        self.settle()
        return {name: float(mean) for name, mean in self.means.take().items()}

    def state(self) -> dict[str, Any]:
        """Tensors and numbers from which ``restore`` continues bit for bit.

        Raises:
            NonFinite: as ``settle``.
        """
        self.settle()
        return {
            "step": self.step,
            "batch": self.batch,
            "noise": self.noise,
            "nets": {name: net.state_dict() for name, net in self.nets.items()},
            "averages": {name: net.state_dict() for name, net in self.averages.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "latest": self.latest,
            "running_means": self.means.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            RuntimeError: the state belongs to other nets; the message names the keys.
        """
        for group in ("nets", "averages", "optimisers"):
            for name, part in getattr(self, group).items():
                part.load_state_dict(state[group][name])
        for optimiser in self.optimisers.values():
            align_moments(optimiser)
        self.prepare_graphs()
        self.step, self.batch, self.noise = state["step"], state["batch"], state["noise"]
        latest = state["latest"] if "latest" in state else state["standing"]  # the key's name before 0.1
        self.means.load(state["running_means"] if "running_means" in state else state["tally"])
        self.latest = {name: value.to(self.device) for name, value in latest.items()}


def play(game: Game, until: int) -> Iterator[int]:
    """Train until step ``until``; yield the number of steps done after each step.

    Raises:
        NonFinite: a loss is not finite; that update changed nothing. Alone on a GPU, a loss of one of the latest updates.
    """
    while game.step < until:
        # The schedule names the players of each update, in order.
        for update in game.recipe.schedule.updates(game.step):
            _update(game, update)
        # Move the averages towards the new weights.
        if game.recipe.ema:
            game.recipe.ema.update(game.averages, game.nets, game.step)
        game.step += 1
        yield game.step


def _update(game: Game, update: Update) -> None:
    """Evaluate some players' losses and take their steps. Nothing of the evaluation outlives the call."""
    players = [p for p in game.recipe.players if p.name in update.players]
    # Run pre-update hooks, then draw a real batch and latents. The RNG seed depends only on (run seed, draw counter),
    # so a resumed run is bit-identical.
    for player in players:
        if player.before:
            player.before(game.nets, game.step)
    ctx = game.draw(update, players)
    # Compute every player's loss; the gate decides from the latest losses which players may update.
    evaluation = game.evaluate(players, ctx)
    admitted = _admit(game, update)
    # A graph on a GPU may have taken the optimisers' steps already.
    if not evaluation.is_applied:
        _apply_all(game, [p for p in players if p.name in admitted], evaluation)


def _admit(game: Game, update: Update) -> tuple[str, ...]:
    """The players that may update; logs which ones are skipped, for the curves and for gates that depend on it."""
    gate = game.recipe.gate
    admitted = gate.admit(game.latest, update.players)
    if gate is not always:
        for name in update.players:
            game.log(f"rests/{name}", torch.tensor(float(name not in admitted)))
    return admitted


def nets_of(players: list[Player]) -> frozenset[str]:
    """Names of the nets that an update of these players trains."""
    return frozenset(name for player in players for name in player.nets)


def _apply_all(game: Game, acting: list[Player], evaluation: Evaluation) -> None:
    """Take all gradients before any weight changes: players of one update are simultaneous."""
    gradients = [_mean_gradient(game, evaluation, p, is_last=p is acting[-1]) for p in acting]
    for player, gradient in zip(acting, gradients, strict=True):
        _apply(game, player, gradient)


def _mean_gradient(game: Game, evaluation: Evaluation, player: Player, *, is_last: bool) -> Gradient:
    """The gradient of the mean over the ranks of the player's loss."""
    weights = game.parameters[player.name]
    return game.ranks.mean_gradient(player.name, evaluation.gradient(player, weights, is_last=is_last), weights)


def _apply(game: Game, player: Player, gradient: Gradient) -> None:
    optimiser = game.optimisers[player.name]
    if player.hyperparameters:
        for group in optimiser.param_groups:
            group.update(player.hyperparameters(game.step, game.recipe.steps))
    for parameter, value in zip(game.parameters[player.name], gradient, strict=True):
        parameter.grad = None if value is None else with_strides_of(parameter, value)
    optimiser.step()
    for parameter in game.parameters[player.name]:
        parameter.grad = None
    if player.after:
        player.after(game.nets, game.step)


def _on_device(net: nn.Module, device: torch.device) -> nn.Module:
    """Move a net; on the CPU to channels last, in which oneDNN's float32 convolutions take a quarter less time."""
    if device.type == "cpu":
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.to(device)
