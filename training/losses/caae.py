"""Losses of the conditional adversarial autoencoder: Zhang et al. 2017, arXiv:1702.08423, eq. 6; FaceAging.py of its authors.

E and G rebuild a real image from its code and its age. One discriminator tells rebuilt images from real ones of that age, the
other tells codes from draws of the prior. Labels of the real batch are the ages.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from training.game.objective import loss
from training.game.step import DiscriminatorOutput, StepContext


@loss
def rebuilding(ctx: StepContext) -> Tensor:
    """mean |x - G(E(x), age)|."""
    return (_rebuilt(ctx) - ctx.real.x.detach()).abs().mean()


@loss
def fooling_images(ctx: StepContext) -> Tensor:
    """mean sp(-D(G(E(x), age), age))."""
    return F.softplus(-_image_logits(ctx, is_real=False)).mean()


@loss
def fooling_codes(ctx: StepContext) -> Tensor:
    """mean sp(-Dz(E(x))): what makes the codes spread as the prior does."""
    return F.softplus(-_code_logits(ctx, is_prior=False)).mean()


@loss
def d_images(ctx: StepContext) -> Tensor:
    """mean sp(-D(x, age)) + mean sp(D(G(E(x), age), age))."""
    real, rebuilt = (_image_logits(ctx, is_real=is_real) for is_real in (True, False))
    ctx.log("accuracy/real", (real >= 0).float().mean())
    ctx.log("accuracy/fake", (rebuilt < 0).float().mean())
    return F.softplus(-real).mean() + F.softplus(rebuilt).mean()


@loss
def d_codes(ctx: StepContext) -> Tensor:
    """mean sp(-Dz(z)) + mean sp(Dz(E(x))), z from the prior."""
    return F.softplus(-_code_logits(ctx, is_prior=True)).mean() + F.softplus(_code_logits(ctx, is_prior=False)).mean()


def _code(ctx: StepContext) -> Tensor:
    return ctx.cached("code", lambda: cast(Tensor, ctx.nets["E"](ctx.real.x.detach())))


def _rebuilt(ctx: StepContext) -> Tensor:
    return ctx.cached("rebuilt", lambda: cast(Tensor, ctx.nets["G"](z=_code(ctx), age=ctx.real.y)))


def _image_logits(ctx: StepContext, *, is_real: bool) -> Tensor:
    def logits() -> Tensor:
        x = ctx.real.x.detach() if is_real else _rebuilt(ctx)
        return cast(DiscriminatorOutput, ctx.nets["D"](x, age=ctx.real.y)).logit

    return ctx.cached(f"image logits:{is_real}", logits)


def _code_logits(ctx: StepContext, *, is_prior: bool) -> Tensor:
    """Draws of the prior and codes pass Dz as one batch: normalised apart, each would have the deviation of the other."""

    def logits() -> Tensor:
        return cast(DiscriminatorOutput, ctx.nets["Dz"](torch.cat([ctx.latents["z"], _code(ctx)]))).logit

    return ctx.cached("code logits", logits).chunk(2)[0 if is_prior else 1]
