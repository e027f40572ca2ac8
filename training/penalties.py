"""What is added to a discriminator's loss to keep it tame: each sees verdicts and samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from training.game.objective import Loss, Term
from training.game.step import DiscriminatorOutput, StepContext


def r1(gamma: float, *, every: int = 1) -> Loss:
    """gamma/2 E |grad D(x)|^2 at real samples: Mescheder et al. 2018, arXiv:1801.04406, eq. 9.

    ``every`` > 1 computes it at one step of ``every``, times ``every``: "lazy", Karras et al. 2020, arXiv:1912.04958, app. B.
    """

    def penalty(ctx: StepContext) -> Tensor:
        if ctx.step % every:
            return torch.zeros((), device=ctx.real.x.device)
        return every * gamma / 2 * squared_gradient(ctx.on_real.logit, ctx.real.x).mean()

    return Loss((Term(f"r1({gamma:g})" if every == 1 else f"r1({gamma:g}, every={every})", penalty),))


def squared_gradient(logit: Tensor, x: Tensor) -> Tensor:
    """|d logit_i / d x_i|^2 of each sample, [N]; differentiable."""
    (gradient,) = torch.autograd.grad(logit.sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def gradient_penalty(weight: float) -> Loss:
    """weight * E (|grad f(xh)| - 1)^2, xh = x + a (G(z) - x), a ~ U(0,1): Gulrajani et al. 2017, arXiv:1704.00028, eq. 3."""

    def penalty(ctx: StepContext) -> Tensor:
        real, fake = ctx.real.x.detach(), ctx.fake.detach()
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
        between = torch.lerp(real, fake, share).requires_grad_()
        output: DiscriminatorOutput = ctx.nets["D"](between, **ctx.conditioning("real"))
        (gradient,) = torch.autograd.grad(output.logit.sum(), between, create_graph=True)
        # The norm's own derivative is taken as zero at zero, where that of a square root of squares is not a number.
        slope: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return weight * (slope - 1).square().mean()

    return Loss((Term(f"gradient_penalty({weight:g})", penalty),))


def r1_r2(gamma: Callable[[int], float]) -> Loss:
    """gamma/2 (E |grad D(x)|^2 + E |grad D(G(z))|^2), zero-centred on reals and fakes, on every step, by name r1 and r2.

    Huang et al. 2024, arXiv:2501.05441, eq. 3; ``gamma`` is a function of the step. Lazily computed it fails on StackedMNIST.
    """

    def half(ctx: StepContext) -> Tensor:
        device = ctx.real.x.device
        return ctx.of_step(f"half of gamma:{id(gamma)}", lambda step: (torch.full((), gamma(step) / 2, device=device),))[0]

    def on_reals(ctx: StepContext) -> Tensor:
        return half(ctx) * squared_gradient(ctx.on_real.logit, ctx.real.x).mean()

    def on_fakes(ctx: StepContext) -> Tensor:
        return half(ctx) * squared_gradient(ctx.on_fake.logit, ctx.fake).mean()

    return Loss((Term("r1", on_reals), Term("r2", on_fakes)))


def drift(weight: float) -> Loss:
    """weight * E D(x)^2 at real samples: Karras et al. 2018, arXiv:1710.10196, app. A.1: it keeps scores near 0."""

    def penalty(ctx: StepContext) -> Tensor:
        return weight * ctx.on_real.logit.square().mean()

    return Loss((Term(f"drift({weight:g})", penalty),))
