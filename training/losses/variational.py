"""VAEGAN's losses: an auto-encoder that measures likeness in its discriminator's features; Larsen et al., arXiv:1512.09300.

Three players of one deal: E encodes reals, G decodes codes and prior samples, D judges all three kinds in one batch. Each takes
the gradient of its own loss by its own net alone, and so no adversarial gradient reaches E and no likeness reaches D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from training.game.objective import Loss, Term, loss
from training.game.step import DiscriminatorOutput, StepContext


@dataclass(frozen=True)
class Judged:
    """D's answers on reals, on what became of them by way of their codes, and on samples of the prior."""

    logits: tuple[Tensor, Tensor, Tensor]
    """Three times [N]: real, reconstructed, sampled."""
    features: tuple[Tensor, Tensor]
    """Twice [N,F]: real, reconstructed."""


@loss
def divergence(ctx: StepContext) -> Tensor:
    """KL(q(z|x) || N(0,I)), mean of the batch: arXiv:1512.09300, eq. 3."""
    mean, log_variance = _posterior(ctx)
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()


@loss
def likeness(ctx: StepContext) -> Tensor:
    """1/2 |D_l(x) - D_l(G(E(x)))|^2, mean of the batch: -log p(D_l(x)|z) up to a constant, arXiv:1512.09300, eq. 7."""
    real, again = _judged(ctx).features
    return 0.5 * (real - again).square().sum(1).mean()


@loss
def d_three_ways(ctx: StepContext) -> Tensor:
    """1/2 -log D(x), 1/4 -log(1 - D(G(E(x)))), 1/4 -log(1 - D(G(z))): eq. 8, real and made of equal weight as in its code.

    Notes what the equilibrium gate looks at, ``cost/real`` and ``cost/fake``.
    """
    real, fake = costs(*_judged(ctx).logits)
    ctx.log("cost/real", real)
    ctx.log("cost/fake", fake)
    return (real + fake) / 2


def g_three_ways(gamma: float, *, is_saturating: bool = True) -> Loss:
    """gamma likeness - (1 - gamma) (-log(1 - D(G(E(x)))) - log(1 - D(G(z)))): algorithm 1, in the weights of its code.

    That is the zero-sum loss, which teaches little from fakes that D is sure of; ``is_saturating=False`` minimises
    -log D(G(E(x))) - log D(G(z)) in its place.
    """

    def fooling(ctx: StepContext) -> Tensor:
        _, again, sampled = _judged(ctx).logits
        sign = 1 if is_saturating else -1
        return -sign * (F.softplus(sign * again).mean() + F.softplus(sign * sampled).mean())

    return gamma * likeness + (1 - gamma) * Loss((Term("fooling", fooling),))


@loss
def pixelwise(ctx: StepContext) -> Tensor:
    """Cross entropy of the reconstruction's pixels in [0,1], summed over an image, mean of the batch: the plain VAE's."""
    return F.binary_cross_entropy(_decoded(ctx), ctx.real.x.detach(), reduction="none").flatten(1).sum(1).mean()


def costs(real: Tensor, again: Tensor, sampled: Tensor) -> tuple[Tensor, Tensor]:
    """Mean -log of the probability given to the truth, of reals and of everything made; logits [N]."""
    return F.softplus(-real).mean(), (F.softplus(again).mean() + F.softplus(sampled).mean()) / 2


def _posterior(ctx: StepContext) -> tuple[Tensor, Tensor]:
    return ctx.cached("posterior", lambda: cast(tuple[Tensor, Tensor], ctx.nets["E"](ctx.real.x)))


def _decoded(ctx: StepContext) -> Tensor:
    return ctx.cached("decoded", lambda: cast(Tensor, ctx.nets["G"](z=_code(*_posterior(ctx)))))


def _code(mean: Tensor, log_variance: Tensor) -> Tensor:
    return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


def _judged(ctx: StepContext) -> Judged:
    return ctx.cached("judged", lambda: _judge(ctx))


def _judge(ctx: StepContext) -> Judged:
    batch = torch.cat([ctx.real.x, _decoded(ctx), ctx.fake])
    output = cast(DiscriminatorOutput, ctx.nets["D"](batch))
    real, again, sampled = output.logit.chunk(3)
    ctx.log("accuracy/real", (real >= 0).float().mean())
    ctx.log("accuracy/fake", (torch.cat([again, sampled]) < 0).float().mean())
    first, second, _ = output.features.chunk(3)
    return Judged((real, again, sampled), (first, second))
