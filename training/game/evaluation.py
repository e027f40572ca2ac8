"""What an update computes before any weight changes: losses, what they log, and their gradients."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from training.errors import NonFinite, TrainingError
from training.game.ranks import Gradient
from training.game.recipe import Player
from training.game.step import StepContext


@dataclass(frozen=True)
class Evaluation:
    """Losses and logged scalars of one update by name, and the gradients."""

    losses: Mapping[str, Tensor]
    logged: Mapping[str, Tensor]
    gradients: Mapping[str, Gradient] | None = None
    """Gradient of each player where a graph has computed them already."""
    is_applied: bool = False
    """Whether the graph has taken the optimisers' steps, too."""

    def gradient(self, player: Player, weights: Sequence[Tensor], *, is_last: bool) -> Gradient:
        """The gradient by each of the player's weights, None for idle ones; the last player of an update frees the graph."""
        if self.gradients is not None:
            return self.gradients[player.name]
        loss = self.losses[player.name].sum()
        if not loss.requires_grad:
            raise TrainingError(f"player {player.name}: its loss {player.loss} does not depend on its weights")
        try:
            return torch.autograd.grad(loss, weights, retain_graph=not is_last, allow_unused=player.has_idle_weights)
        except RuntimeError as error:
            found = re.search(r"Tensor at index (\d+) appears to not have been used", str(error))
            if not found:
                raise
            weight = weights[int(found[1])]
            raise TrainingError(
                f"player {player.name}: its loss {player.loss} does not use its weight {found[1]}, of shape "
                f"{list(weight.shape)}: use it, or set has_idle_weights where another update does"
            ) from error


class Unseen:
    """Losses on a GPU that are looked at some updates later, so that neither it nor Python waits for the other.

    By then the weights have moved on. Nothing of that is kept: a record or a checkpoint first looks at all of them.
    """

    MOST = 32
    """Updates whose losses wait at most."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, tuple[str, ...], Tensor, torch.cuda.Event]] = deque()

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Look at the losses of an update, by player, when later ones have been added.

        Raises:
            NonFinite: a loss of an earlier update is not finite.
        """
        copied = torch.stack(list(losses.values())).to("cpu", non_blocking=True)
        computed = torch.cuda.Event()
        computed.record()
        self._waiting.append((step, tuple(losses), copied, computed))
        while len(self._waiting) > self.MOST:
            self._look()

    def settle(self) -> None:
        """Look at all of them; raises NonFinite."""
        while self._waiting:
            self._look()

    def _look(self) -> None:
        step, players, losses, computed = self._waiting.popleft()
        computed.synchronize()
        for player, loss in zip(players, losses.tolist(), strict=True):
            if not math.isfinite(loss):
                raise NonFinite(step=step, player=player, tensor="")


def compute_loss(player: Player, ctx: StepContext) -> Tensor:
    """The player's loss, logged in the context with its terms."""
    parts = player.loss.parts(ctx)
    for name, value in parts:
        if not isinstance(value, Tensor) or value.ndim:
            found = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise TrainingError(f"player {player.name}: {name} must be one number in a tensor, as .mean() gives, got {found}")
    loss = player.loss(ctx)
    ctx.log(f"{player.name}/loss", loss)
    if len(parts) > 1:
        for name, value in parts:
            ctx.log(f"{player.name}/{name}", value)
    return loss


def first_non_finite(ctx: StepContext, parts: Mapping[str, Tensor]) -> str:
    """Name of the first tensor that is not finite, in the order of computation: weights, samples, logits, terms of the loss."""
    weights = ((f"{role}.{name}", p) for role, net in ctx.nets.items() for name, p in net.named_parameters())
    outputs = ((name, cast(Tensor, getattr(ctx._cache.get(name), "logit", None))) for name in ("on_real", "on_fake"))
    samples = (("real", ctx.real.x), ("fake", cast(Tensor, ctx._cache.get("fake"))))
    for name, tensor in (*weights, *samples, *outputs, *parts.items()):
        if tensor is not None and not torch.isfinite(tensor).all():
            return name
    return "the sum of the terms"
