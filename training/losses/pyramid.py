"""The game of one level of a Laplacian pyramid: Denton et al. 2015, arXiv:1506.05751, section 2.3."""

from __future__ import annotations

from torch import Tensor

from training.game.objective import Loss, on_view
from training.game.step import Batch, StepContext
from training.nets.pyramid import double, halve


def at_level(objective: Loss, number: int, of: int) -> Loss:
    """The objective between the nets ``G<number>`` and ``D<number>`` on the real images of that level, 0 the lowest of ``of``.

    G receives the latent ``z<number>``, at the lowest level the label ``y`` that was drawn, above it the real images of the
    level below, enlarged, and their labels. No level sees what another's generator makes.
    """
    return on_view(objective, lambda ctx: level_of(ctx, number, of))


def level_of(ctx: StepContext, number: int, of: int) -> StepContext:
    """The part of a step that the level plays: its reals, its latents, and its nets in the roles of G and D."""
    level = ctx.cached(f"level:{number}", lambda: ctx.with_samples(*_samples(ctx, number, of)))
    return level.with_roles(G=f"G{number}", D=f"D{number}")


def _samples(ctx: StepContext, number: int, of: int) -> tuple[Batch, dict[str, Tensor]]:
    x, y = halve(ctx.real.x.detach(), of - 1 - number), ctx.real.y
    z = ctx.latents[f"z{number}"]
    if number == 0:
        return Batch(x, y), {"z": z, "y": ctx.latents["y"]}
    if y is None:
        raise ValueError("a pyramid conditional on classes needs labels, and the data has none")
    return Batch(x, y), {"z": z, "y": y, "coarse": double(halve(x))}
