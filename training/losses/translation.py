"""pix2pix's distance between the image made of a picture and the image that the picture was made of."""

from __future__ import annotations

from torch import Tensor

from training.game.objective import loss
from training.game.step import StepContext


@loss
def l1(ctx: StepContext) -> Tensor:
    """mean |x - G(picture of x, z)|: Isola et al. 2017, arXiv:1611.07004, eq. 3."""
    return (ctx.fake - ctx.real.x.detach()).abs().mean()
