"""Semi-supervised losses of Salimans et al. 2016, arXiv:1606.03498: D names K classes, and real is whichever of them.

l are D's K logits, Z = sum exp l; D(x) = Z / (Z + 1), so that log Z, ``evidence``, is the logit of "real" (section 5).
"""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch.nn import functional as F

from training.game.objective import loss
from training.game.step import DiscriminatorOutput, StepContext
from training.nets.labelled import Labelled


def evidence(output: DiscriminatorOutput) -> Tensor:
    """log Z [N]: greater means more real."""
    return output.logit.logsumexp(1)


@loss
def d_labelled(ctx: StepContext) -> Tensor:
    """Cross entropy of the K logits on labelled samples, as many as there are real ones; their accuracy is noted."""
    labelled = cast(Labelled, ctx.nets["labelled"])
    x, y = labelled.batch(ctx.step, len(ctx.real.x))
    logits = cast(DiscriminatorOutput, ctx.nets["D"](x)).logit
    ctx.log("accuracy/labelled", (logits.argmax(1) == y).float().mean())
    return F.cross_entropy(logits, y)


@loss
def d_unlabelled(ctx: StepContext) -> Tensor:
    """-1/2 mean log D(x) - 1/2 mean log(1 - D(G(z))), by log Z: 1/2 mean sp(-log Z(x)) + 1/2 mean sp(log Z(G(z)))."""
    real, fake = evidence(ctx.on_real), evidence(ctx.on_fake)
    ctx.log("accuracy/real", (real >= 0).float().mean())
    ctx.log("accuracy/fake", (fake < 0).float().mean())
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


@loss
def g_feature_matching(ctx: StepContext) -> Tensor:
    """|mean f(x) - mean f(G(z))|^2 by the number of features, as openai/improved-gan divides it: section 3.1."""
    difference = ctx.on_real.features.mean(0) - ctx.on_fake.features.mean(0)
    return difference.square().mean()
