"""VAEGAN's nets: convolutions of 5x5, batch normalisation and ReLU; ``img32x32`` of its authors' code."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from training.game.step import DiscriminatorOutput
from training.nets.conv import ConvGenerator

LAYER = "layer"
"""Head of the discriminator: the layer in whose values likeness is measured."""
HALVINGS = 3


class Encoder(nn.Module):
    """Samples [N,...] to the mean and the log variance of their code's posterior, both [N,z]."""

    def __init__(self, body: nn.Sequential, features: int, z: int) -> None:
        super().__init__()
        self.body = body
        self.mean = nn.Linear(features, z)
        self.log_variance = nn.Linear(features, z)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features: Tensor = self.body(x)
        return self.mean(features), self.log_variance(features)


class Discriminator(nn.Module):
    """Samples through ``seen`` to the layer of likeness, through ``body`` to features [N,F] and to a logit [N]."""

    def __init__(self, seen: nn.Sequential, body: nn.Sequential, features: int) -> None:
        super().__init__()
        self.seen = seen
        self.body = body
        self.head = nn.Linear(features, 1)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        layer = cast(Tensor, self.seen(x))
        features = cast(Tensor, self.body(layer))
        return DiscriminatorOutput(self.head(features).squeeze(1), features, {LAYER: layer.flatten(1)})


def encoder(shape: tuple[int, ...], z: int, *, width: int) -> Encoder:
    """Three convolutions of stride 2 and a dense layer, then one linear layer for each parameter of the posterior."""
    channels, size, _ = shape
    maps, features, end = [channels, width, 2 * width, 4 * width], 16 * width, sides(size)[-1]
    layers = [layer for a, b in pairwise(maps) for layer in (_halve(a, b), nn.BatchNorm2d(b), nn.ReLU())]
    return Encoder(nn.Sequential(*layers, *_dense(maps[-1] * end * end, features)), features, z)


def decoder(z: int, shape: tuple[int, ...], *, width: int) -> ConvGenerator:
    """A dense layer, three transposed convolutions of stride 2 and a convolution, then pixels in [0,1]."""
    channels, size, _ = shape
    maps, up = [4 * width, 3 * width, 2 * width, width // 2], sides(size)[::-1]
    stem = nn.Sequential(*_dense(z, maps[0] * up[0] * up[0])[1:], nn.Unflatten(1, (maps[0], up[0], up[0])))
    layers: list[nn.Module] = []
    for (a, b), (small, large) in zip(pairwise(maps), pairwise(up), strict=True):
        deconvolution = nn.ConvTranspose2d(a, b, 5, 2, 2, output_padding=large - 2 * small + 1, bias=False)
        layers += [deconvolution, nn.BatchNorm2d(b), nn.ReLU()]
    return ConvGenerator(stem, nn.Sequential(*layers, nn.Conv2d(maps[-1], channels, 5, 1, 2), nn.Sigmoid()), 0)


def discriminator(shape: tuple[int, ...], *, width: int) -> Discriminator:
    """Four convolutions, all but the first of stride 2, and a dense layer; likeness is measured behind the third one.

    What the third convolution gives is taken before batch normalisation: recon_depth 6 of cifar_aegan.py.
    """
    channels, size, _ = shape
    maps, features, end = [width // 2, 2 * width, 3 * width, 4 * width], 8 * width, sides(size)[-1]
    first, second, third, fourth = maps
    seen = [nn.Conv2d(channels, first, 5, 1, 2), nn.ReLU(), _halve(first, second), nn.BatchNorm2d(second), nn.ReLU()]
    body = [nn.BatchNorm2d(third), nn.ReLU(), _halve(third, fourth), nn.BatchNorm2d(fourth), nn.ReLU()]
    body += _dense(fourth * end * end, features)
    return Discriminator(nn.Sequential(*seen, _halve(second, third)), nn.Sequential(*body), features)


def sides(size: int) -> list[int]:
    """Side of an image and of its maps, each half of the one before, rounded up: 28, 14, 7, 4."""
    return [math.ceil(size / 2**i) for i in range(HALVINGS + 1)]


def _halve(a: int, b: int) -> nn.Conv2d:
    return nn.Conv2d(a, b, 5, 2, 2, bias=False)


def _dense(a: int, b: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU()]
