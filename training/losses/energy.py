"""EBGAN's losses: a discriminator gives each sample an energy, low for reals; Zhao et al. 2017, arXiv:1609.03126.

The verdict's logit is minus the energy, and its features are the encoder's output.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from training.game.objective import Loss, Term, loss
from training.game.step import StepContext


def d_energy(margin: float) -> Loss:
    """mean E(x) + mean [margin - E(G(z))]+: eq. 1, energies of fakes beyond the margin count no more."""

    def value(ctx: StepContext) -> Tensor:
        return -ctx.on_real.logit.mean() + F.relu(margin + ctx.on_fake.logit).mean()

    return Loss((Term(f"d_energy({margin:g})", value),))


@loss
def g_energy(ctx: StepContext) -> Tensor:
    """mean E(G(z)): eq. 2."""
    return -ctx.on_fake.logit.mean()


@loss
def pulling_away(ctx: StepContext) -> Tensor:
    """f_PT, the mean squared cosine between the codes of two fakes: section 2.4, eq. 4; keeps a batch from clumping."""
    return mean_squared_cosine(ctx.on_fake.features)


def mean_squared_cosine(codes: Tensor) -> Tensor:
    """1/(N(N-1)) sum over i != j of cos^2(S_i, S_j), of codes S [N,F] with N > 1."""
    directions = F.normalize(codes.flatten(1), dim=1)
    squares = (directions @ directions.T).square()
    n = len(codes)
    return (squares.sum() - torch.diagonal(squares).sum()) / (n * (n - 1))
