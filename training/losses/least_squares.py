"""Mao et al.'s least squares GAN, arXiv:1611.04076, often called LSGAN; Qi's LS-GAN is ``training.losses.margin``."""

from __future__ import annotations

from torch import Tensor

from training.game.objective import loss
from training.game.step import StepContext


@loss
def d_least_squares(ctx: StepContext) -> Tensor:
    """1/2 mean (D(x) - 1)^2 + 1/2 mean (D(G(z)) + 1)^2: eq. 8, with a = -1, b = 1."""
    return ((ctx.on_real.logit - 1).square().mean() + (ctx.on_fake.logit + 1).square().mean()) / 2


@loss
def g_least_squares(ctx: StepContext) -> Tensor:
    """1/2 mean D(G(z))^2: eq. 8 with c = 0, where G minimises Pearson's chi^2 between (p + g) and 2 g."""
    return ctx.on_fake.logit.square().mean() / 2
