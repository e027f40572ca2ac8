"""Nets of games with several players of a kind: GMAN's discriminators and its lambda, and a mixture of generators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nets.conv import ConvDiscriminator
from training.nets.layers import Dropout, initialise, normal


class Lambda(nn.Module):
    """A number above 0 that is learned: softplus(p), p from -2; arXiv:1611.01673, section 4.2."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(-2.0))

    def forward(self) -> Tensor:
        return F.softplus(self.p)


class Mixture(nn.Module):
    """One of several generators, chosen row by row by the categorical latent ``g``."""

    def __init__(self, generators: Sequence[nn.Module]) -> None:
        super().__init__()
        self.generators = nn.ModuleList(generators)

    def forward(self, z: Tensor, g: Tensor) -> Tensor:
        """z [N,size], g int64 [N] -> samples [N,...]; every generator computes every row, and the wanted one is taken."""
        first, *others = self.generators
        made = cast(Tensor, first(z))
        for number, generator in enumerate(others, 1):
            is_wanted = (g == number).view(-1, *[1] * (made.ndim - 1))
            made = torch.where(is_wanted, cast(Tensor, generator(z)), made)
        return made


def gman_discriminator(shape: tuple[int, ...], *, width: int, keep: float) -> ConvDiscriminator:
    """conv3 s2 - conv3 s2 - conv3 s1, from ``width`` channels, doubling, LReLU .2, no batch norm; iDurugkar/GMAN models.py.

    ``keep`` is the share of units that dropout leaves after the first two.
    """
    channels, size, _ = shape
    down = [channels, width, 2 * width, 4 * width]
    body: list[nn.Module] = []
    for a, b, stride in zip(down, down[1:], (2, 2, 1), strict=False):
        dropout = [Dropout(1 - keep)] if stride == 2 else []
        body += [nn.Conv2d(a, b, 3, stride, 1), nn.LeakyReLU(0.2), *dropout]
    end = (size + 3) // 4
    net = ConvDiscriminator(nn.Sequential(*body, nn.Flatten()), down[-1] * end * end)
    initialise(net, normal(0.02))
    return net


def dropout_keeps(count: int) -> list[float]:
    """The share of units that each discriminator's dropout leaves, .4 + .2 (i + 1) / count, so that they differ."""
    return [0.4 + 0.2 * (i + 1) / count for i in range(count)]
