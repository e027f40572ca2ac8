"""Several seeds of one game played as one: each weight has a further first axis, the seeds, over which ``torch.vmap`` runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from training.errors import NonFinite, TrainingError, first_line
from training.game.batches import derive_seed, seed_generators
from training.game.captured import NOT_DENSE, REFUSALS, count_weights
from training.game.evaluation import Evaluation
from training.game.gates import always
from training.game.loop import Game, nets_of, play
from training.game.recipe import Player
from training.game.scalars import Means
from training.game.schedules import Update
from training.game.step import Batch, StepContext

Tensors = dict[str, Tensor]
TRIED_STEPS = 2
"""Steps after which a stack of two games must equal the two games played alone."""
MOST_WEIGHTS = 300_000
"""Weights of a game's nets at most."""
TOLERANCE = 1e-9
"""Greatest difference allowed there, relative to 1 + |value|, in float64."""


class StackedGame(Game):
    """Games of one recipe and data, at one step, that ``play`` trains as if they were one; ``part`` gives them back.

    Each seed's batches, latents and initial weights are those of its game played alone, so that its weights are too, up to the
    rounding of products that are computed together.
    """

    def __init__(self, games: Sequence[Game]) -> None:
        """Args: ``games`` have the same recipe, data and step; they are changed by ``part`` only."""
        first = games[0]
        self.games = tuple(games)
        self.recipe, self.latents, self.batches = first.recipe, first.latents, first.batches
        self.device, self.precision, self.ranks = first.device, first.precision, first.ranks
        self.step, self.batch, self.noise = first.step, first.batch, first.noise
        self.nets = {name: _stack_nets([game.nets[name] for game in games]) for name in first.nets}
        self.averages = {name: _stack_nets([game.averages[name] for game in games]) for name in first.averages}
        self.parameters = {p.name: [w for net in p.nets for w in self.nets[net].parameters()] for p in first.recipe.players}
        self.optimisers = {p.name: p.optimiser.make(self.parameters[p.name]) for p in first.recipe.players}
        for name, optimiser in self.optimisers.items():
            _stack_states(optimiser, [game.optimisers[name] for game in games])
        self.latest: Tensors = {name: _stack([game.latest[name] for game in games]) for name in first.latest}
        self.means = Means()
        self.failed: dict[int, NonFinite] = {}
        """Games that had a loss that is not finite, by seed; ``part`` leaves them as they are, and the others go on."""
        self.prepare_graphs()
        self._epoch: tuple[int, Tensor] = (-1, torch.empty(0))

    def draw(self, update: Update, players: list[Player]) -> StepContext:
        """The samples of an update, [S,N,...]: for each game what it would draw alone."""
        self.batch += update.is_new_batch
        self.noise += update.is_new_noise
        rows = self._rows(self.batch - 1)
        real = self.batches.rows(rows.flatten())
        shape = rows.shape
        latents = [self._latents(game.seed) for game in self.games]
        return StepContext(
            self.nets,
            Batch(real.x.unflatten(0, shape), None if real.y is None else real.y.unflatten(0, shape)),
            {name: torch.stack([drawn[name] for drawn in latents]) for name in self.latents},
            step=self.step,
            moving=nets_of(players),
            conditions=self.recipe.conditions,
        )

    def compute(self, players: list[Player], ctx: StepContext) -> tuple[Tensors, Tensors]:
        """Each player's losses and logged scalars [S]; the gradient of a sum of losses is that of each game's own loss."""
        real = {"x": ctx.real.x} if ctx.real.y is None else {"x": ctx.real.x, "y": ctx.real.y}
        of_all = torch.vmap(partial(self._compute_one, players, ctx), randomness="different")
        losses, logged = of_all(self.graphs.places.values(), real, dict(ctx.latents))
        return losses, logged

    def check_finite(self, evaluation: Evaluation, players: list[Player], ctx: StepContext) -> None:
        """Note the games whose loss is not finite; raises NonFinite when every game has failed."""
        for name, loss in evaluation.losses.items():
            if not loss.isfinite().all():
                self._note_failures(name, loss)

    def _note_failures(self, player: str, loss: Tensor) -> None:
        for game, is_finite in zip(self.games, loss.isfinite().tolist(), strict=True):
            if not is_finite and game.seed not in self.failed:
                error = NonFinite(step=self.step, player=f"{player} of seed {game.seed}", tensor="the loss itself")
                self.failed[game.seed] = error
        if len(self.failed) == len(self.games):
            raise next(iter(self.failed.values()))

    def _compute_one(
        self, players: list[Player], ctx: StepContext, values: list[Tensor], real: Tensors, latents: Tensors
    ) -> tuple[Tensors, Tensors]:
        """Losses and logged scalars of one game, in which every tensor stands for those of all games."""
        batch = Batch(real["x"], real.get("y"))
        one = _OneOfMany(
            self.nets,
            self.recipe.transform_real(batch) if self.recipe.transform_real else batch,
            latents,
            step=ctx.step,
            moving=ctx.moving,
            conditions=self.recipe.conditions,
        )
        with self.graphs.places.holding(values):
            return super().compute(players, one)

    def part(self) -> None:
        """Bring every game that has not failed to the state of the stack, with the scalars of its next record."""
        means = self.means.state()
        self.means = Means()
        for index, game in enumerate(self.games):
            if game.seed in self.failed:
                continue
            game.step, game.batch, game.noise = self.step, self.batch, self.noise
            for name, net in self.nets.items():
                _copy_from(game.nets[name], net, index)
            for name, net in self.averages.items():
                _copy_from(game.averages[name], net, index)
            for name, optimiser in self.optimisers.items():
                _part_state(optimiser, game.optimisers[name], index)
            game.latest = {**game.latest, **{name: value[index].clone() for name, value in self.latest.items()}}
            game.means.merge(means, index)

    def _rows(self, number: int) -> Tensor:
        """Places of the samples of each game's batch, int64 [S,N]."""
        epoch, index = divmod(number, self.batches.per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, torch.stack([game.batches.permutation(epoch) for game in self.games]))
        size = self.batches.size
        return self._epoch[1][:, index * size : (index + 1) * size]

    def _latents(self, seed: int) -> Tensors:
        seed_generators(self.device, derive_seed(seed, self.noise))
        return self.recipe.sample_latents(self.latents, self.recipe.batch, self.device)


class _OneOfMany(StepContext):
    """A context inside ``torch.vmap``, where no tensor can be made a leaf: penalties that differentiate by samples fail."""

    @staticmethod
    def as_leaf(samples: Tensor) -> Tensor:
        return samples.detach()


def check_together(games: Sequence[Game]) -> None:
    """Play two of the games together for two steps in float64, on copies, and see that they equal the two played alone.

    In float32 the two differ by rounding, which Adam turns into a whole step where a gradient is nothing but rounding.

    Args:
        games: at the same step.

    Raises:
        TrainingError: this recipe's games cannot be played together; the message says why.
    """
    if why := _why_not(games[0]):
        raise _refusal(games[0], why)
    alone, found = ([in_float64(game) for game in (games[0], games[-1])] for _ in range(2))
    together, until = StackedGame(found), games[0].step + TRIED_STEPS
    try:
        for _ in play(together, until):
            pass
    except REFUSALS as error:
        raise _refusal(games[0], first_line(error)) from error
    together.part()
    for expected, game in zip(alone, found, strict=True):
        for _ in play(expected, until):
            pass
        if (off := difference(expected, game)) > TOLERANCE:
            raise _refusal(games[0], f"weights differ from the game played alone by {off:.1g} after {TRIED_STEPS} steps")


def _why_not(game: Game) -> str | None:
    """Why games of this kind are not tried together; None where they are."""
    recipe = game.recipe
    if recipe.gate is not always:
        return f"the gate {recipe.gate} decides in each game who updates"
    if game.precision != "float32":
        return f"the games must compute in float32, got {game.precision}"
    if recipe.picture:
        return "its generator changes pictures"
    if any(player.has_idle_weights for player in recipe.players):
        return "an update may leave weights out"
    for name, net in game.nets.items():
        for module in net.modules():
            if isinstance(module, NOT_DENSE):
                return f"the net {name} has a {type(module).__name__}, and only dense layers are faster together"
            if isinstance(module, nn.Dropout) and module.p > 0:
                return f"the net {name} has dropout, which each game must draw by itself"
    if (weights := count_weights(game.nets)) > MOST_WEIGHTS:
        return f"its nets have {weights:,} weights; above {MOST_WEIGHTS:,} games together take as long as one after the other"
    return None


def _refusal(game: Game, why: str) -> TrainingError:
    return TrainingError(f"{game.recipe.name} cannot be trained for several seeds at once: {why}; train each with --seed")


def in_float64(game: Game) -> Game:
    """A copy of the game with float64 numbers and the same draws."""
    recipe = game.recipe

    def double(tensors: Mapping[str, Tensor]) -> Tensors:
        return {name: value.double() if value.is_floating_point() else value for name, value in tensors.items()}

    def transform(batch: Batch) -> Batch:
        real = Batch(batch.x.double() if batch.x.is_floating_point() else batch.x, batch.y)
        return recipe.transform_real(real) if recipe.transform_real else real

    exact = replace(
        recipe, transform_real=transform, sample_latents=lambda *how: double(recipe.sample_latents(*how)), prepare=None
    )
    copied = Game(exact, game.batches.data, seed=game.seed)
    for net in (*copied.nets.values(), *copied.averages.values()):
        net.double()
    copied.restore(copy.deepcopy(game.state()))
    return copied


@torch.no_grad()
def difference(one: Game, other: Game) -> float:
    """The greatest difference of two games' weights and buffers, relative to 1 + |value|."""
    pairs = [(net, other.nets[name]) for name, net in one.nets.items()]
    pairs += [(net, other.averages[name]) for name, net in one.averages.items()]
    values = [both for first, second in pairs for both in zip(_tensors(first), _tensors(second), strict=True)]
    return max(float(((a - b).abs() / (1 + a.abs())).max()) for a, b in values if a.numel())


def _stack(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([value.detach() for value in values])


def _stack_nets(nets: Sequence[nn.Module]) -> nn.Module:
    """A net whose weights and buffers are those of all nets, with the nets as a further first axis."""
    stacked = copy.deepcopy(nets[0])
    for module, *others in zip(stacked.modules(), *(net.modules() for net in nets), strict=True):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                values = _stack([cast(Tensor, other._parameters[name]) for other in others])
                module._parameters[name] = nn.Parameter(values, requires_grad=parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _stack([cast(Tensor, other._buffers[name]) for other in others])
    return stacked


@torch.no_grad()
def _copy_from(net: nn.Module, stacked: nn.Module, index: int) -> None:
    for own, values in zip(_tensors(net), _tensors(stacked), strict=True):
        own.copy_(values[index])


def _tensors(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]


def _stack_states(optimiser: torch.optim.Optimizer, others: Sequence[torch.optim.Optimizer]) -> None:
    """Give an optimiser of stacked weights the states and settings of the optimisers of its parts."""
    for group, first in zip(optimiser.param_groups, others[0].param_groups, strict=True):
        group.update({name: value for name, value in first.items() if name != "params"})
        for place, parameter in enumerate(group["params"]):
            own = [other.state[other.param_groups[0]["params"][place]] for other in others]
            for name, value in own[0].items():
                is_each = isinstance(value, Tensor) and value.shape == parameter.shape[1:]
                optimiser.state[parameter][name] = _stack([state[name] for state in own]) if is_each else copy.deepcopy(value)


def _part_state(optimiser: torch.optim.Optimizer, own: torch.optim.Optimizer, index: int) -> None:
    """The reverse of ``_stack_states`` for one part."""
    for group, mine in zip(optimiser.param_groups, own.param_groups, strict=True):
        mine.update({name: value for name, value in group.items() if name != "params"})
        for parameter, weight in zip(group["params"], mine["params"], strict=True):
            for name, value in optimiser.state[parameter].items():
                is_each = isinstance(value, Tensor) and value.shape == parameter.shape
                own.state[weight][name] = value[index].clone() if is_each else copy.deepcopy(value)
