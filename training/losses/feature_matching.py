"""Semi-supervised losses of Salimans et al. 2016, arXiv:1606.03498: D names K classes, and real is whichever of them.

l are D's K logits, Z = sum exp l; D(x) = Z / (Z + 1), so that log Z, ``evidence``, is the logit of "real" (section 5).
"""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch.nn import functional as F

from training.game.objective import loss
from training.game.step import Round, Verdict
from training.nets.labelled import Labelled


def evidence(verdict: Verdict) -> Tensor:
    """log Z [N]: greater means more real."""
    return verdict.logit.logsumexp(1)


@loss
def d_labelled(round: Round) -> Tensor:
    """Cross entropy of the K logits on labelled samples, as many as there are real ones; their accuracy is noted."""
    labelled = cast(Labelled, round.nets["labelled"])
    x, y = labelled.batch(round.step, len(round.real.x))
    logits = cast(Verdict, round.nets["D"](x)).logit
    round.note("accuracy/labelled", (logits.argmax(1) == y).float().mean())
    return F.cross_entropy(logits, y)


@loss
def d_unlabelled(round: Round) -> Tensor:
    """-1/2 mean log D(x) - 1/2 mean log(1 - D(G(z))), by log Z: 1/2 mean sp(-log Z(x)) + 1/2 mean sp(log Z(G(z)))."""
    real, fake = evidence(round.on_real), evidence(round.on_fake)
    round.note("accuracy/real", (real >= 0).float().mean())
    round.note("accuracy/fake", (fake < 0).float().mean())
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


@loss
def g_feature_matching(round: Round) -> Tensor:
    """|mean f(x) - mean f(G(z))|^2 by the number of features, as openai/improved-gan divides it: section 3.1."""
    difference = round.on_real.features.mean(0) - round.on_fake.features.mean(0)
    return difference.square().mean()
