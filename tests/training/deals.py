"""A batch small enough to work out by hand: two reals, two fakes, a discriminator whose logit is a multiple of the sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.game.step import Batch, DiscriminatorOutput, StepContext


class Scaled(nn.Module):
    """A generator that gives its latents times a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, z: Tensor) -> Tensor:
        return z * self.weight


class Linear(nn.Module):
    """A discriminator whose logit is the sum of w x."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.asked = 0

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        self.asked += 1
        return DiscriminatorOutput((x * self.weight).flatten(1).sum(1), x)


def sample_latents(*, moving: str = "D", step: int = 0) -> StepContext:
    """Reals 1 and 3, fakes 2 * (-1, 0.5), logits 1.5 x: real 1.5 and 4.5, fake -3 and 1.5; D2's logits are -x."""
    nets = {"G": Scaled(2.0), "D": Linear(1.5), "D2": Linear(-1.0)}
    return StepContext(
        nets, Batch(torch.tensor([[1.0], [3.0]])), {"z": torch.tensor([[-1.0], [0.5]])}, step=step, moving=frozenset(moving)
    )


def softplus(x: float) -> float:
    """log(1 + e^x)."""
    return math.log1p(math.exp(x))


REAL, FAKE = (1.5, 4.5), (-3.0, 1.5)
"""D's logits."""
