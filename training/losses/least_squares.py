"""Mao et al.'s least squares GAN, arXiv:1611.04076, often called LSGAN; Qi's LS-GAN is ``training.losses.margin``."""

from __future__ import annotations

from torch import Tensor

from training.game.objective import Loss, Term
from training.game.step import StepContext


def d_squares(fake: float, real: float, *, name: str = "") -> Loss:
    """1/2 mean (D(x) - real)^2 + 1/2 mean (D(G(z)) - fake)^2: eq. 2, with a = ``fake`` and b = ``real``."""

    def value(ctx: StepContext) -> Tensor:
        return ((ctx.on_real.logit - real).square().mean() + (ctx.on_fake.logit - fake).square().mean()) / 2

    return Loss((Term(name or f"d_squares({fake:g}, {real:g})", value),))


def g_squares(target: float, *, name: str = "") -> Loss:
    """1/2 mean (D(G(z)) - target)^2: eq. 2, with c = ``target``."""

    def value(ctx: StepContext) -> Tensor:
        return (ctx.on_fake.logit - target).square().mean() / 2

    return Loss((Term(name or f"g_squares({target:g})", value),))


d_least_squares = d_squares(-1, 1, name="d_least_squares")
"""Of eq. 8."""
g_least_squares = g_squares(0, name="g_least_squares")
"""Of eq. 8, where G minimises Pearson's chi^2 between (p + g) and 2 g."""
