"""Qi's loss-sensitive GAN and its generalisation: D is a loss function L, small for reals; arXiv:1701.06264.

The verdict's logit is -L. Not to be confused with Mao's least squares (``training.losses.least_squares``), called LSGAN, too.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from training.game.objective import Loss, Term, loss
from training.game.step import StepContext


def d_margin(scale: float, *, slope: float = 0.0) -> Loss:
    """mean C(Delta + L(x) - L(G(z))), x and G(z) paired as drawn: arXiv:1701.06264, eq. 6 and its appendix D.

    A fake's loss shall be greater than its partner's by the margin Delta = scale * mean |x - G(z)|, a constant of D.
    C is a leaky ReLU: ``slope`` 0 is LS-GAN, 1 is WGAN, between them GLS-GAN.
    """

    def value(ctx: StepContext) -> Tensor:
        margin = scale * (ctx.real.x - ctx.fake).detach().abs().flatten(1).mean(1)
        lead = ctx.on_real.logit - ctx.on_fake.logit
        ctx.log("accuracy/pair", (lead > 0).float().mean())
        ctx.log("accuracy/margin", (lead >= margin).float().mean())
        return F.leaky_relu(margin - lead, slope).mean()

    return Loss((Term(f"d_margin({scale:g}, slope={slope:g})", value),))


@loss
def g_margin(ctx: StepContext) -> Tensor:
    """mean L(G(z)): arXiv:1701.06264, eq. 7."""
    return -ctx.on_fake.logit.mean()
