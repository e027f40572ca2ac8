"""VAEGAN's losses: an auto-encoder that measures likeness in its discriminator's features; Larsen et al., arXiv:1512.09300.

Three players share one real batch: E encodes reals, G decodes codes and prior samples, D classifies reals and samples. Each
player takes the gradient of its own loss by its own net alone, so no adversarial gradient reaches E and no likeness reaches D.
The details follow andersbll/autoencoding_beyond_pixels (model/aegan.py): D's probability p enters a logarithm as p + .001,
which bounds every cost at 6.9, and likeness has a pass of D of its own. Unlike there, D's batch normalisation takes the
statistics of reals and of samples apart: normalised together they differ so clearly that D is right about all of them after one
update, and rests in the next twenty.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from training.game.objective import Loss, Term, loss
from training.game.step import DiscriminatorOutput, StepContext
from training.nets.variational import LAYER

EPSILON = 1e-3
"""``eps`` of model/aegan.py and model/gan.py."""


@loss
def divergence(ctx: StepContext) -> Tensor:
    """KL(q(z|x) || N(0,I)), mean of the batch: arXiv:1512.09300, eq. 3."""
    mean, log_variance = _posterior(ctx)
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()


@loss
def likeness(ctx: StepContext) -> Tensor:
    """1/2 |D_l(x) - D_l(G(E(x)))|^2, mean of the batch: -log p(D_l(x)|z) up to a constant, arXiv:1512.09300, eq. 7."""
    reconstructed, real = ctx.cached("likeness", lambda: _features(ctx)).chunk(2)
    return 0.5 * (real - reconstructed).square().sum(1).mean()


def d_weighted(real_weight: float) -> Loss:
    """``real_weight`` times the cost of reals plus the rest times the cost of samples: eq. 8, weighted as in the code.

    It logs the two costs, ``cost/real`` and ``cost/fake``, on which the equilibrium gate decides.
    """

    def d_costs(ctx: StepContext) -> Tensor:
        real, fake = costs(ctx.on_real.logit, ctx.on_fake.logit)
        ctx.log("cost/real", real)
        ctx.log("cost/fake", fake)
        return real_weight * real + (1 - real_weight) * fake

    return Loss((Term("costs", d_costs),))


def g_variational(gamma: float, *, is_saturating: bool = True) -> Loss:
    """gamma likeness + (1 - gamma) log(1 - D(G(z)) + eps): algorithm 1, in the weights of its code.

    ``is_saturating=False`` minimises -log(D(G(z)) + eps) instead of that zero-sum term.
    """

    def fooling(ctx: StepContext) -> Tensor:
        fake = ctx.on_fake.logit
        return log_probability(-fake).mean() if is_saturating else -log_probability(fake).mean()

    return gamma * likeness + (1 - gamma) * Loss((Term("fooling", fooling),))


@loss
def pixelwise(ctx: StepContext) -> Tensor:
    """Cross entropy of the reconstruction's pixels in [0,1], summed over an image, mean of the batch: the plain VAE's."""
    return F.binary_cross_entropy(_reconstructed(ctx), ctx.real.x.detach(), reduction="none").flatten(1).sum(1).mean()


def log_probability(logit: Tensor) -> Tensor:
    """log(s(l) + eps), s the sigmoid: between -6.9 and .001."""
    return (torch.sigmoid(logit) + EPSILON).log()


def costs(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Mean -log of the probability that D gives to the truth, of reals and of fakes; logits [N]."""
    return -log_probability(real).mean(), -log_probability(-fake).mean()


def _posterior(ctx: StepContext) -> tuple[Tensor, Tensor]:
    return ctx.cached("posterior", lambda: cast(tuple[Tensor, Tensor], ctx.nets["E"](ctx.real.x)))


def _reconstructed(ctx: StepContext) -> Tensor:
    return ctx.cached("reconstructed", lambda: cast(Tensor, ctx.nets["G"](z=_code(*_posterior(ctx)))))


def _code(mean: Tensor, log_variance: Tensor) -> Tensor:
    return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


def _features(ctx: StepContext) -> Tensor:
    """What D's layer of likeness gives for reconstructions and reals, [2N,F], normalised together."""
    return cast(DiscriminatorOutput, ctx.nets["D"](torch.cat([_reconstructed(ctx), ctx.real.x]))).heads[LAYER]
