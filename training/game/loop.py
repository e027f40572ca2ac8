"""A game under way: the recipe's nets, optimisers and averages, and the one function that plays it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from contract import Latents
from training.errors import NonFinite
from training.game.batches import Batches, mix
from training.game.gates import always
from training.game.recipe import Player, Recipe
from training.game.schedules import Update
from training.game.step import Batch, StepContext


class Game:
    """Everything that changes while a recipe is played; ``state`` and ``restore`` are all that a resume needs."""

    def __init__(self, recipe: Recipe, latents: Latents, batches: Batches, *, seed: int) -> None:
        """Nets are initialised from ``seed``, on the device of the data."""
        self.recipe = recipe
        self.latents = latents
        self.batches = batches
        self.seed = seed
        self.device = batches.data.items.device
        torch.manual_seed(seed)
        self.nets = {name: _placed(net, self.device) for name, net in recipe.nets(batches.data.shape, latents).items()}
        if recipe.prepare:
            recipe.prepare(self.nets, batches, seed)
        self.averages = {name: copy.deepcopy(self.nets[name]) for name in (recipe.ema.nets if recipe.ema else ())}
        self.parameters = {p.name: _trained(p, self.nets) for p in recipe.players}
        self.optimisers = {p.name: p.optimiser.make(self.parameters[p.name]) for p in recipe.players}
        self.step = 0
        self.batch = 0
        """Real batches dealt so far."""
        self.noise = 0
        """Draws of latents so far."""
        self.latest: dict[str, Tensor] = {}
        """The latest value of every note."""
        self.running_means: dict[str, tuple[Tensor, int]] = {}
        """Sum and count of every note since the last ``record``."""

    @property
    def images(self) -> int:
        """Real samples dealt so far."""
        return self.batch * self.recipe.batch

    def sampling_nets(self) -> dict[str, nn.Module]:
        """The nets to draw samples from: the averages where there are any. In their present mode, not copies."""
        return {**self.nets, **self.averages}

    def log(self, name: str, value: Tensor) -> None:
        """Count a scalar towards the next record."""
        total, count = self.running_means.get(name, (torch.zeros_like(value), 0))
        self.running_means[name] = (total + value, count + 1)

    def record(self) -> dict[str, float]:
        """The mean of every note since the last record, which it empties."""
        means = {name: float(total) / count for name, (total, count) in self.running_means.items()}
        self.running_means = {}
        return means

    def state(self) -> dict[str, Any]:
        """Tensors and numbers from which ``restore`` continues bit for bit."""
        return {
            "step": self.step,
            "batch": self.batch,
            "noise": self.noise,
            "nets": {name: net.state_dict() for name, net in self.nets.items()},
            "averages": {name: net.state_dict() for name, net in self.averages.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "latest": self.latest,
            "running_means": self.running_means,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            RuntimeError: the state is of other nets; the message names the keys.
        """
        for group in ("nets", "averages", "optimisers"):
            for name, part in getattr(self, group).items():
                part.load_state_dict(state[group][name])
        for optimiser in self.optimisers.values():
            _align_moments(optimiser)
        self.step, self.batch, self.noise = state["step"], state["batch"], state["noise"]
        latest = state["latest"] if "latest" in state else state["standing"]  # the key's name before 0.1
        means = state["running_means"] if "running_means" in state else state["tally"]
        self.latest = {name: value.to(self.device) for name, value in latest.items()}
        self.running_means = {name: (total.to(self.device), count) for name, (total, count) in means.items()}


def play(game: Game, until: int) -> Iterator[int]:
    """Play until step ``until``, giving control back after each step with the number of steps done.

    Raises:
        NonFinite: a loss is not finite; nothing was updated in that move.
    """
    recipe = game.recipe
    while game.step < until:
        # Who moves, and in what order, is the schedule's.
        for move in recipe.schedule.moves(game.step):
            players = [p for p in recipe.players if p.name in move.players]
            # Whoever moves makes ready; real samples and latents are dealt; randomness is a function of progress.
            _make_ready(game, players)
            ctx = _deal(game, move, players)
            # Every player states its loss; the gate says who may act on it.
            losses = {p.name: _state_loss(game, p, ctx) for p in players}
            admitted = _admit(game, move)
            # The gradients of all are taken before anyone moves.
            acting = [p for p in players if p.name in admitted]
            gradients = [_gradient(losses[p.name], game.parameters[p.name], keep=p is not acting[-1]) for p in acting]
            for player, gradient in zip(acting, gradients, strict=True):
                _step(game, player, gradient)
        # The averages follow.
        _average(game)
        game.step += 1
        yield game.step


def _admit(game: Game, update: Update) -> tuple[str, ...]:
    """The players that the gate lets act; it logs which ones rest, for the curves and for gates that remember."""
    gate = game.recipe.gate
    admitted = gate.admit(game.latest, update.players)
    if gate is not always:
        for name in update.players:
            rests = torch.tensor(float(name not in admitted))
            game.latest[f"rests/{name}"] = rests
            game.log(f"rests/{name}", rests)
    return admitted


def _make_ready(game: Game, players: list[Player]) -> None:
    for player in players:
        if player.before:
            player.before(game.nets)


def _deal(game: Game, move: Update, players: list[Player]) -> StepContext:
    game.batch += move.is_new_batch
    game.noise += move.is_new_noise
    recipe = game.recipe
    _seed(game.device, mix(game.seed, game.noise))
    real: Batch = game.batches.at(game.batch - 1)
    latents = recipe.sample_latents(game.latents, recipe.batch, game.device)
    return StepContext(
        game.nets,
        recipe.transform_real(real) if recipe.transform_real else real,
        latents,
        step=game.step,
        moving=frozenset(name for p in players for name in p.nets),
        conditions=recipe.conditions,
    )


def _seed(device: torch.device, seed: int) -> None:
    """Seed the generators that a step draws from.

    ``torch.manual_seed`` also seeds every other kind of device and formats the call stack for those that are absent, which took
    a quarter of a small game's time.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _state_loss(game: Game, player: Player, ctx: StepContext) -> Tensor:
    parts = player.loss.parts(ctx)
    loss = player.loss(ctx)
    if not loss.isfinite():
        raise NonFinite(step=game.step, player=player.name, tensor=_first_non_finite(ctx, dict(parts)))
    ctx.log(f"{player.name}/loss", loss)
    if len(parts) > 1:
        for name, value in parts:
            ctx.log(f"{player.name}/{name}", value)
    game.latest.update(ctx.logged)
    for name, value in ctx.logged.items():
        game.log(name, value)
    ctx.logged.clear()
    return loss


def _gradient(loss: Tensor, parameters: list[nn.Parameter], *, keep: bool) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, parameters, retain_graph=keep)


def _step(game: Game, player: Player, gradient: tuple[Tensor, ...]) -> None:
    optimiser = game.optimisers[player.name]
    if player.hyperparameters:
        for group in optimiser.param_groups:
            group.update(player.hyperparameters(game.step, game.recipe.steps))
    for parameter, value in zip(game.parameters[player.name], gradient, strict=True):
        parameter.grad = _with_strides_of(parameter, value)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    if player.after:
        player.after(game.nets)


def _with_strides_of(parameter: Tensor, value: Tensor) -> Tensor:
    """The same numbers with the parameter's strides.

    Fused optimisers walk a parameter, its gradient and its moments in the order of memory: on the CPU they ignore strides, on
    CUDA they refuse unequal ones. ``torch.autograd.grad`` returns whatever strides the backward pass made; behind a gradient
    penalty they differ from the parameter's.
    """
    return value if value.stride() == parameter.stride() else torch.empty_like(parameter).copy_(value)


def _align_moments(optimiser: torch.optim.Optimizer) -> None:
    """Give loaded moments the strides of their parameters: a checkpoint of another device has other ones."""
    for parameter, moments in optimiser.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = _with_strides_of(parameter, value)


@torch.no_grad()
def _average(game: Game) -> None:
    if not game.recipe.ema:
        return
    share = 1 - game.recipe.ema.at(game.step)
    for name, average in game.averages.items():
        net = game.nets[name]
        torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), share)
        for kept, current in zip(average.buffers(), net.buffers(), strict=True):
            kept.copy_(current)


def _placed(net: nn.Module, device: torch.device) -> nn.Module:
    """On the device; on the CPU with the channels last, in which oneDNN's float32 convolutions take a quarter less time."""
    if device.type == "cpu":
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.to(device)


def _trained(player: Player, nets: Mapping[str, nn.Module]) -> list[nn.Parameter]:
    return [parameter for name in player.nets for parameter in nets[name].parameters()]


def _first_non_finite(ctx: StepContext, parts: Mapping[str, Tensor]) -> str:
    """Where it began, as far as one can see: a weight, else a sample, else a verdict, else a term of the loss."""
    weights = ((f"{role}.{name}", p) for role, net in ctx.nets.items() for name, p in net.named_parameters())
    made = ((name, cast(Tensor, getattr(ctx._made.get(name), "logit", None))) for name in ("on_real", "on_fake"))
    samples = (("real", ctx.real.x), ("fake", cast(Tensor, ctx._made.get("fake"))))
    for name, tensor in (*weights, *samples, *made, *parts.items()):
        if tensor is not None and not torch.isfinite(tensor).all():
            return name
    return "the sum of the terms"
