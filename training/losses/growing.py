"""Losses of nets that grow: Karras et al. 2018, arXiv:1710.10196."""

from __future__ import annotations

from typing import cast

from training.game.objective import Loss, on_view
from training.game.step import Batch, StepContext
from training.nets.growing import Growing


def on_faded_reals(objective: Loss) -> Loss:
    """The objective on reals as D's present level has them: halved, faded as G's images are, enlarged; section 2."""
    return on_view(objective, lambda ctx: ctx.cached("faded", lambda: _faded(ctx)))


def _faded(ctx: StepContext) -> StepContext:
    d = cast(Growing, ctx.nets["D"])
    return ctx.with_samples(Batch(d.fade(ctx.real.x.detach()), ctx.real.y), ctx.latents)
