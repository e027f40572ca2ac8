"""Several discriminators, several generators: GMAN's losses, Durugkar et al. 2017, arXiv:1611.01673, and weighted sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor

from training.game.objective import Loss, Term, loss, on_view, with_roles
from training.game.step import StepContext

Mixing = Literal["mean", "max", "learned"]
LAMBDA_PRICE = 0.001
"""c of -c lambda, arXiv:1611.01673, section 4.2."""


def on_shard(objective: Loss, number: int, of: int) -> Loss:
    """The objective on one shard of the batch."""
    return on_view(objective, lambda ctx: ctx.shard(number, of))


def against(objective: Loss, adversaries: Sequence[str], *, role: Literal["D", "G"], **own: str) -> Loss:
    """The objective's mean over adversaries of equal weight, each in ``role``: a weighed sum of a player's performances.

    Its terms are named after the adversaries.

    Args:
        objective: of two players, such as ``d_nonsaturating``.
        adversaries: nets that take ``role`` one after the other.
        role: what the adversaries are.
        own: the net that takes the player's own role, such as ``D="D1"``.
    """
    # G's role is cast first, so that every discriminator gets the same samples of one generator.
    casts = [{**own, role: name} for name in adversaries]
    parts = [with_roles(with_roles(objective, D=cast["D"]), G=cast["G"]) for cast in casts]
    named = [replace(t, name=f"{name} {t.name}") for p, name in zip(parts, adversaries, strict=True) for t in p.terms]
    if len(objective.terms) == 1:
        named = [replace(t, name=name) for t, name in zip(named, adversaries, strict=True)]
    return (1 / len(casts)) * Loss(tuple(named))


@loss
def d_squashed(ctx: StepContext) -> Tensor:
    """-mean log s(D(x)) - mean log(1 - s(D(G(z)))): D's loss with the same s, as iDurugkar/GMAN has it."""
    return -squashed(ctx.on_real.logit).log().mean() - squashed(-ctx.on_fake.logit).log().mean()


@loss
def g_squashed(ctx: StepContext) -> Tensor:
    """mean log(1 - s(D(G(z)))): the first GAN's own objective, whose value V_i is greatest where D is surest.

    s is the sigmoid brought to [.01,.99], as iDurugkar/GMAN has it.
    """
    return squashed(-ctx.on_fake.logit).log().mean()


@loss
def g_squashed_modified(ctx: StepContext) -> Tensor:
    """-mean log s(D(G(z))): the modified objective, for a lone discriminator."""
    return -squashed(ctx.on_fake.logit).log().mean()


def squashed(logit: Tensor) -> Tensor:
    """.98 sigmoid + .01."""
    return 0.98 * torch.sigmoid(logit) + 0.01


def g_mixed(values: Sequence[Loss], mixing: Mixing) -> Loss:
    """What G makes of its discriminators' values V_i: their mean, the greatest, or sum w_i V_i with w = softmax(lambda V).

    Learned, lambda is the answer of the net ``mix``, which G's player owns; the term -c lambda draws it up, so that G prefers
    its harshest critics as far as it can afford them: arXiv:1611.01673, sections 4.1 and 4.2 (GMAN*).
    """

    def mixed(ctx: StepContext) -> Tensor:
        v = torch.stack([value(ctx) for value in values])
        return v.mean() if mixing == "mean" else v.max() if mixing == "max" else soft_mean(v, _lambda(ctx))

    terms = (Term(f"g_mixed({mixing})", mixed),)
    return Loss(terms) if mixing != "learned" else Loss((*terms, Term("lambda", _lambda, -LAMBDA_PRICE)))


def soft_mean(values: Tensor, sharpness: Tensor) -> Tensor:
    """sum softmax(sharpness * values) * values, values [N]: 0 gives the mean, infinity the greatest."""
    return (torch.softmax(sharpness * values, 0) * values).sum()


def _lambda(ctx: StepContext) -> Tensor:
    value = ctx.cached("lambda", lambda: cast(Tensor, ctx.nets["mix"]()))
    ctx.log("lambda", value)
    return value
