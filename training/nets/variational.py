"""VAEGAN's nets for MNIST: dense layers of one width, batch normalisation and ReLU; architectures.py of its authors."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from training.nets import mlp


class Encoder(nn.Module):
    """Samples [N,...] to the mean and the log variance of their code's posterior, both [N,z]."""

    def __init__(self, body: nn.Sequential, features: int, z: int) -> None:
        super().__init__()
        self.body = body
        self.mean = nn.Linear(features, z)
        self.log_variance = nn.Linear(features, z)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features: Tensor = self.body(x.flatten(1))
        return self.mean(features), self.log_variance(features)


def encoder(shape: tuple[int, ...], z: int, *, units: int) -> Encoder:
    """Two hidden layers, then one linear layer for each parameter of the posterior."""
    return Encoder(_blocks(math.prod(shape), units), units, z)


def decoder(z: int, shape: tuple[int, ...], *, units: int) -> mlp.Generator:
    """Two hidden layers, then pixels in [0,1]."""
    body = nn.Sequential(*_blocks(z, units), nn.Linear(units, math.prod(shape)), nn.Sigmoid())
    return mlp.Generator(body, shape)


def discriminator(shape: tuple[int, ...], *, units: int) -> mlp.Discriminator:
    """Two hidden layers, of which the second is where likeness is measured, then a logit."""
    return mlp.Discriminator(_blocks(math.prod(shape), units), units)


def _blocks(inputs: int, units: int) -> nn.Sequential:
    sizes = [inputs, units, units]
    return nn.Sequential(*(layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU())))
