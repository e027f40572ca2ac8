"""Losses of the noiseless joint PPGN-h (arXiv:1612.00005): G reconstructs a real image from a classifier's features of it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from training.game.objective import loss
from training.game.step import DiscriminatorOutput, StepContext
from training.nets.plug_and_play import FeatureClassifier


@loss
def pixel_error(ctx: StepContext) -> Tensor:
    """|x - G(h(x))|^2, the mean over the batch."""
    return (_reconstruction(ctx) - ctx.real.x).square().flatten(1).sum(1).mean()


@loss
def layer_error(ctx: StepContext) -> Tensor:
    """|h1(x) - h1(G(h(x)))|^2, the mean over the batch: a match in an earlier layer of the classifier."""
    c = cast(FeatureClassifier, ctx.nets["C"])
    return (c.encode(_reconstruction(ctx))[0] - _features(ctx)[0]).square().sum(1).mean()


@loss
def d_on_reconstructions(ctx: StepContext) -> Tensor:
    """-log D(x) - log(1 - D(G(h(x)))), the mean over the batch."""
    real, fake = _logit(ctx, ctx.real.x), _logit(ctx, _reconstruction(ctx))
    ctx.log("accuracy/real", (real >= 0).float().mean())
    ctx.log("accuracy/fake", (fake < 0).float().mean())
    return F.softplus(-real).mean() + F.softplus(fake).mean()


@loss
def g_on_reconstructions(ctx: StepContext) -> Tensor:
    """-log D(G(h(x))), the mean over the batch."""
    return F.softplus(-_logit(ctx, _reconstruction(ctx))).mean()


def _features(ctx: StepContext) -> list[Tensor]:
    def make() -> list[Tensor]:
        with torch.no_grad():
            return cast(FeatureClassifier, ctx.nets["C"]).encode(ctx.real.x)

    return ctx.cached("features", make)


def _reconstruction(ctx: StepContext) -> Tensor:
    def make() -> Tensor:
        with torch.set_grad_enabled("G" in ctx.moving):
            return cast(Tensor, ctx.nets["G"](h=_features(ctx)[-1]))

    return ctx.cached("reconstruction", make)


def _logit(ctx: StepContext, x: Tensor) -> Tensor:
    return cast(DiscriminatorOutput, ctx.nets["D"](x)).logit
