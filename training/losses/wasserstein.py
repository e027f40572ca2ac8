"""Wasserstein losses: the critic's score f estimates a distance, and has neither a sigmoid nor a side."""

from __future__ import annotations

from torch import Tensor

from training.game.objective import loss
from training.game.step import StepContext


@loss
def d_wasserstein(ctx: StepContext) -> Tensor:
    """mean f(G(z)) - mean f(x): Arjovsky et al. 2017, arXiv:1701.07875, eq. 3; its negative estimates the distance."""
    return ctx.on_fake.logit.mean() - ctx.on_real.logit.mean()


@loss
def g_wasserstein(ctx: StepContext) -> Tensor:
    """-mean f(G(z)): arXiv:1701.07875, algorithm 1."""
    return -ctx.on_fake.logit.mean()
