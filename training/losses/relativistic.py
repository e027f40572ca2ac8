"""Relativistic pairing: only the difference of a real's and a fake's logit counts; Jolicoeur-Martineau, arXiv:1807.00734."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from training.game.objective import loss
from training.game.step import StepContext


@loss
def d_relativistic(ctx: StepContext) -> Tensor:
    """mean sp(-(D(x) - D(G(z)))), each real with the fake of its place in the batch: RpGAN, arXiv:2501.05441, eq. 2."""
    lead = ctx.on_real.logit - ctx.on_fake.logit
    ctx.log("accuracy/pair", (lead > 0).float().mean())
    return F.softplus(-lead).mean()


@loss
def g_relativistic(ctx: StepContext) -> Tensor:
    """mean sp(-(D(G(z)) - D(x))): the same with the sides changed; G's move, too, looks at reals."""
    return F.softplus(ctx.on_real.logit - ctx.on_fake.logit).mean()
