"""LAPGAN's nets: Denton et al. 2015, arXiv:1506.05751; read in facebook/eyescream, cifar/scripts.

A level of the pyramid is an image of half the side of the next one. A dense generator draws the lowest; each higher one is the
image below, enlarged, plus the details that the level's own generator draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput
from training.nets.conditional import one_hot
from training.nets.layers import Dropout


def halve(x: Tensor, times: int = 1) -> Tensor:
    """Means of squares of 2^times x 2^times pixels: [N,C,H,W] -> [N,C,H/2^times,W/2^times]."""
    return F.avg_pool2d(x, 1 << times) if times else x


def double(x: Tensor) -> Tensor:
    """Bilinear: [N,C,H,W] -> [N,C,2H,2W]."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class DenseGenerator(nn.Module):
    """Noise and the one-hot label, joined, through two dense layers to an image of the lowest level, not bounded."""

    def __init__(self, z: int, classes: int, shape: tuple[int, ...], *, width: int) -> None:
        super().__init__()
        sizes = [z + classes, width, width]
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.body = nn.Sequential(*hidden, nn.Linear(width, math.prod(shape)), nn.Unflatten(1, shape))
        self.classes = classes

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """z [N,size], y int64 [N] -> [N,C,H,W]."""
        return cast(Tensor, self.body(torch.cat([z, one_hot(y, self.classes, z)], 1)))


class DenseDiscriminator(nn.Module):
    """Pixels and the one-hot label, joined, through two dense layers with dropout .5."""

    def __init__(self, classes: int, shape: tuple[int, ...], *, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(math.prod(shape) + classes, width),
            nn.ReLU(),
            Dropout(0.5),
            nn.Linear(width, width),
            nn.ReLU(),
            Dropout(0.5),
        )
        self.head = nn.Linear(width, 1)
        self.classes = classes
        self.side = shape[-1]

    def forward(self, x: Tensor, y: Tensor) -> DiscriminatorOutput:
        """x [N,C,H,W] of this level or of one above, y int64 [N]."""
        x = _at_side(x, self.side).flatten(1)
        features = cast(Tensor, self.body(torch.cat([x, one_hot(y, self.classes, x)], 1)))
        return DiscriminatorOutput(self.head(features).squeeze(1), features)


class ClassMap(nn.Module):
    """A learned map of each class, joined to an image as one channel more: [N,C,s,s] -> [N,C+1,s,s]."""

    def __init__(self, classes: int, side: int) -> None:
        super().__init__()
        self.plane = nn.Sequential(nn.Linear(classes, side * side), nn.ReLU(), nn.Unflatten(1, (1, side, side)))
        self.classes = classes

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, self.plane(one_hot(y, self.classes, x))], 1)


class DetailGenerator(nn.Module):
    """The image below, enlarged, plus details: conv7 - ReLU - conv7 - ReLU - conv5 of that image, noise and the class's map."""

    def __init__(self, classes: int, shape: tuple[int, ...], *, width: int) -> None:
        super().__init__()
        channels, self.side, _ = shape
        self.label = ClassMap(classes, self.side)
        self.body = nn.Sequential(
            nn.Conv2d(channels + 2, width, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(width, width, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(width, channels, 5, padding=2),
        )

    def forward(self, z: Tensor, y: Tensor, coarse: Tensor) -> Tensor:
        """z [N,side*side], y int64 [N], coarse [N,C,side,side] -> [N,C,side,side]."""
        noise = z.unflatten(1, (1, self.side, self.side))
        return coarse + cast(Tensor, self.body(self.label(torch.cat([noise, coarse], 1), y)))


class DetailDiscriminator(nn.Module):
    """An image and the class's map: conv5 - ReLU - conv5 s2 - ReLU - dropout .5 - dense, without padding."""

    def __init__(self, classes: int, shape: tuple[int, ...], *, width: int) -> None:
        super().__init__()
        channels, self.side, _ = shape
        end = (self.side - 4 - 5) // 2 + 1
        self.label = ClassMap(classes, self.side)
        self.body = nn.Sequential(
            nn.Conv2d(channels + 1, width, 5),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, 2),
            nn.ReLU(),
            nn.Flatten(),
            Dropout(0.5),
        )
        self.head = nn.Linear(width * end * end, 1)

    def forward(self, x: Tensor, y: Tensor) -> DiscriminatorOutput:
        """x [N,C,H,W] of this level or of one above, y int64 [N]."""
        features = cast(Tensor, self.body(self.label(_at_side(x, self.side), y)))
        return DiscriminatorOutput(self.head(features).squeeze(1), features)


class Pyramid(nn.Module):
    """The generators of all levels, one after the other: latents ``z0``, ``z1``, ... and ``y`` to an image of the highest."""

    def __init__(self, generators: Sequence[nn.Module]) -> None:
        super().__init__()
        self.generators = nn.ModuleList(generators)

    def forward(self, y: Tensor, **z: Tensor) -> Tensor:
        """y int64 [N], each z float32 [N,size] -> [N,C,H,W]."""
        lowest, *others = self.generators
        x = cast(Tensor, lowest(z["z0"], y))
        for number, generator in enumerate(others, 1):
            x = cast(Tensor, generator(z[f"z{number}"], y, double(x)))
        return x


def _at_side(x: Tensor, side: int) -> Tensor:
    return halve(x, (x.shape[-1] // side).bit_length() - 1)
