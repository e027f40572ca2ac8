"""Semi-supervised losses of Salimans et al. 2016, arXiv:1606.03498: D names K classes, and real is whichever of them.

l are D's K logits, Z = sum exp l; D(x) = Z / (Z + 1), so that log Z, ``evidence``, is the logit of "real" (section 5).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from training.game.objective import Loss, Term, loss
from training.game.step import DiscriminatorOutput, StepContext
from training.nets.labelled import Labelled


def evidence(output: DiscriminatorOutput) -> Tensor:
    """log Z [N]: greater means more real."""
    return output.logit.logsumexp(1)


@loss
def d_labelled(ctx: StepContext) -> Tensor:
    """Cross entropy of the K logits on labelled samples, as many as there are real ones; their accuracy is noted."""
    x, y = _labelled(ctx)
    return _cross_entropy(ctx, cast(DiscriminatorOutput, ctx.nets["D"](x)), y)


def _semi_supervised() -> Loss:
    """``d_labelled``, and -1/2 mean log D(x) - 1/2 mean log(1 - D(G(z))), by log Z: half of the sum of
    mean sp(-log Z(x)) and mean sp(log Z(G(z))).

    Labelled, real and fake samples pass D together, so that its weights are normalised once.
    """

    def labelled(ctx: StepContext) -> Tensor:
        return _cross_entropy(ctx, _together(ctx)[0], _labelled(ctx)[1])

    def unlabelled(ctx: StepContext) -> Tensor:
        real, fake = map(evidence, _together(ctx)[1:])
        ctx.log("accuracy/real", (real >= 0).float().mean())
        ctx.log("accuracy/fake", (fake < 0).float().mean())
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2

    return Loss((Term("d_labelled", labelled), Term("d_unlabelled", unlabelled)))


d_semi_supervised = _semi_supervised()


def _labelled(ctx: StepContext) -> tuple[Tensor, Tensor]:
    """The labelled samples of the step, and their classes."""
    labelled, size = cast(Labelled, ctx.nets["labelled"]), len(ctx.real.x)
    x, y = ctx.of_step(f"labelled:{size}", lambda step: labelled.batch(step, size))
    return x, y


def _together(ctx: StepContext) -> list[DiscriminatorOutput]:
    """D's outputs on labelled, real and fake samples, of one pass."""

    def judge() -> list[DiscriminatorOutput]:
        samples = (_labelled(ctx)[0], ctx.real.x, ctx.fake)
        return cast(DiscriminatorOutput, ctx.nets["D"](torch.cat(samples))).split(*map(len, samples))

    return ctx.cached("on_labelled_real_fake", judge)


def _cross_entropy(ctx: StepContext, output: DiscriminatorOutput, y: Tensor) -> Tensor:
    ctx.log("accuracy/labelled", (output.logit.argmax(1) == y).float().mean())
    return F.cross_entropy(output.logit, y)


@loss
def g_feature_matching(ctx: StepContext) -> Tensor:
    """|mean f(x) - mean f(G(z))|^2 by the number of features, as openai/improved-gan divides it: section 3.1."""
    difference = ctx.on_real.features.mean(0) - ctx.on_fake.features.mean(0)
    return difference.square().mean()
