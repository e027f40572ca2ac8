"""The adversarial losses: each is a function from a round to a scalar, named as in the literature.

l is a discriminator's logit, sp the softplus; ``d_`` is minimised by the discriminator, ``g_`` by the generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from training.game.gates import FOOLING
from training.game.objective import loss
from training.game.step import StepContext


@loss
def d_nonsaturating(ctx: StepContext) -> Tensor:
    """mean sp(-l(x)) + mean sp(l(G(z))): Goodfellow et al. 2014, arXiv:1406.2661, eq. 1, by logits."""
    return F.softplus(-ctx.on_real.logit).mean() + F.softplus(ctx.on_fake.logit).mean()


@loss
def d_other_classes(ctx: StepContext) -> Tensor:
    """mean sp(l(x, c)) over the classes c that x is not of: real samples with wrong labels are fakes, too.

    Reed et al. 2016, arXiv:1605.05396, section 4.2, with all wrong labels of a sample where they draw one. It is 0 where
    there is one class.
    """
    assert ctx.real.y is not None
    logits = ctx.on_real.heads["classes"]
    is_own = F.one_hot(ctx.real.y, logits.shape[1]).bool()
    return F.softplus(logits).masked_fill(is_own, 0).sum(1).mean() / max(logits.shape[1] - 1, 1)


@loss
def g_nonsaturating(ctx: StepContext) -> Tensor:
    """mean sp(-l(G(z))): arXiv:1406.2661, section 3, "maximise log D(G(z))"."""
    return F.softplus(-ctx.on_fake.logit).mean()


@loss
def g_minimax(ctx: StepContext) -> Tensor:
    """-L_D of the same round: arXiv:1406.2661, eq. 1, the zero-sum game; its first half does not depend on G.

    It logs ``cost/fooling``, the cross entropy by which a gate compares G with D.
    """
    ctx.log(FOOLING, F.softplus(-ctx.on_fake.logit).mean())
    return -d_nonsaturating(ctx)


@loss
def d_log(ctx: StepContext) -> Tensor:
    """-mean(log D(x) + log(1 - D(G(z)))), the first formulation of Kristiadi's introduction, without its overflow at 0."""
    return -(F.logsigmoid(ctx.on_real.logit) + F.logsigmoid(-ctx.on_fake.logit)).mean()


@loss
def g_log(ctx: StepContext) -> Tensor:
    """-mean log D(G(z)), the first formulation of Kristiadi's introduction."""
    return -F.logsigmoid(ctx.on_fake.logit).mean()


@loss
def d_cross_entropy(ctx: StepContext) -> Tensor:
    """Cross entropy of "all real are 1" plus that of "all fakes are 0", Kristiadi's alternative formulation."""
    real, fake = ctx.on_real.logit, ctx.on_fake.logit
    return _cross_entropy(real, torch.ones_like(real)) + _cross_entropy(fake, torch.zeros_like(fake))


@loss
def g_cross_entropy(ctx: StepContext) -> Tensor:
    """Cross entropy of "all fakes are 1", Kristiadi's alternative formulation."""
    return _cross_entropy(ctx.on_fake.logit, torch.ones_like(ctx.on_fake.logit))


def _cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logit, target)


@loss
def d_log_clamped(ctx: StepContext) -> Tensor:
    """-mean(log D(x) + log(1 - D(G(z)))) with each argument of a logarithm at least 1e-5, as gan-intro has it."""
    return -(_clamped_log(ctx.on_real.logit) + _clamped_log(-ctx.on_fake.logit)).mean()


@loss
def g_log_clamped(ctx: StepContext) -> Tensor:
    """-mean log D(G(z)) with the argument of the logarithm at least 1e-5, as gan-intro has it."""
    return -_clamped_log(ctx.on_fake.logit).mean()


def _clamped_log(logit: Tensor) -> Tensor:
    return torch.sigmoid(logit).clamp_min(1e-5).log()
