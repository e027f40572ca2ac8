"""What is added to a discriminator's loss to keep it tame: each sees verdicts and samples."""

from __future__ import annotations

import torch
from torch import Tensor

from training.objective import Loss, Term
from training.round import Round


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
