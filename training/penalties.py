"""What is added to a discriminator's loss to keep it tame: each sees verdicts and samples."""

from __future__ import annotations

import torch
from torch import Tensor

from training.objective import Loss, Term
from training.round import Round, Verdict


def r1(gamma: float, *, every: int = 1) -> Loss:
    """gamma/2 E |grad D(x)|^2 at real samples: Mescheder et al. 2018, arXiv:1801.04406, eq. 9.

    ``every`` > 1 computes it on every so many steps, times that many: "lazy", Karras et al. 2020, arXiv:1912.04958, app. B.
    """

    def penalty(round: Round) -> Tensor:
        if round.step % every:
            return torch.zeros((), device=round.real.x.device)
        return every * gamma / 2 * squared_gradient(round.on_real.logit, round.real.x).mean()

    return Loss((Term(f"r1({gamma:g})" if every == 1 else f"r1({gamma:g}, every={every})", penalty),))


def squared_gradient(logit: Tensor, x: Tensor) -> Tensor:
    """|d logit_i / d x_i|^2 of each sample, [N]; differentiable."""
    (gradient,) = torch.autograd.grad(logit.sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def gradient_penalty(weight: float) -> Loss:
    """weight * E (|grad f(xh)| - 1)^2, xh = x + a (G(z) - x), a ~ U(0,1): Gulrajani et al. 2017, arXiv:1704.00028, eq. 3."""

    def penalty(round: Round) -> Tensor:
        real, fake = round.real.x.detach(), round.fake.detach()
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
        between = torch.lerp(real, fake, share).requires_grad_()
        verdict: Verdict = round.nets["D"](between, **round.told("real"))
        (gradient,) = torch.autograd.grad(verdict.logit.sum(), between, create_graph=True)
        # The norm's own derivative is taken as zero at zero, where that of a square root of squares is not a number.
        slope: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return weight * (slope - 1).square().mean()

    return Loss((Term(f"gradient_penalty({weight:g})", penalty),))
