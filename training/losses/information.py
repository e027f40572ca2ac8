"""InfoGAN's term: how much of the codes can be read off a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from contract import Categorical, Latent, Normal, Uniform
from training.game.objective import Loss, Term
from training.game.step import StepContext


def mutual_information(codes: Mapping[str, Latent]) -> Loss:
    """I = E log Q(c|G(z,c)) + H(c) in nats: Chen et al. 2016, arXiv:1606.03657, eq. 5, the lower bound that both players raise.

    Q's answers are the verdict's heads by the code's name: logits [N,K] of a categorical code, means [N,size] of a continuous
    one, whose posterior is a Gaussian of variance 1 (openai/InfoGAN's ``fix_std``). It is to be maximised: subtract it.
    """

    def information(ctx: StepContext) -> Tensor:
        heads = ctx.on_fake.heads
        parts = {name: information_of(latent, heads[name], ctx.latents[name]) for name, latent in codes.items()}
        for name, part in parts.items():
            ctx.log(f"information/{name}", part)
        return torch.stack(list(parts.values())).sum()

    return Loss((Term("mutual_information", information),))


def information_of(latent: Latent, answer: Tensor, code: Tensor) -> Tensor:
    """mean log Q(code) + H of one code's prior; ``code`` is int64 [N] or float [N,size]."""
    match latent:
        case Categorical(classes):
            return math.log(classes) - F.cross_entropy(answer, code)
        case Uniform(size, low, high):
            entropy = size * math.log(high - low)
        case Normal(size):
            entropy = size * (1 + math.log(2 * math.pi)) / 2
    log_q = -((code - answer).square() + math.log(2 * math.pi)) / 2
    return log_q.sum(1).mean() + entropy
