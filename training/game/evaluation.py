"""What an update computes before any weight changes: losses, what they log, and their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

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

    def gradient(self, player: Player, weights: Sequence[Tensor], *, is_last: bool) -> Gradient:
        """The gradient by each of the player's weights, None for idle ones; the last player of an update frees the graph."""
        if self.gradients is not None:
            return self.gradients[player.name]
        loss = self.losses[player.name].sum()
        return torch.autograd.grad(loss, weights, retain_graph=not is_last, allow_unused=player.has_idle_weights)


def compute_loss(player: Player, ctx: StepContext) -> Tensor:
    """The player's loss, logged in the context with its terms."""
    parts = player.loss.parts(ctx)
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
