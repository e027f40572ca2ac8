"""Nets of the conditional adversarial autoencoder at 28x28: Zhang et al. 2017, arXiv:1702.08423; ZZUTK/Face-Aging-CAAE.

Scaled down from FaceAging.py: two strided convolutions where faces of 128x128 have four.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from training.game.step import DiscriminatorOutput
from training.nets import mlp
from training.nets.conditional import join, one_hot


class Encoder(nn.Module):
    """Images [N,C,H,W] to codes [N,z] in [-1,1]."""

    def __init__(self, shape: tuple[int, ...], z: int, *, width: int) -> None:
        super().__init__()
        channels, height, side = shape
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 5, 2, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * (height // 4) * (side // 4), z),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The codes."""
        return cast(Tensor, self.body(x))


class Generator(nn.Module):
    """Codes [N,z] and ages int64 [N] to images [N,*shape] in [-1,1]; sides divisible by 4.

    The age enters as +-1 one-hot, repeated until it is as long as the code.
    """

    def __init__(self, shape: tuple[int, ...], z: int, ages: int, *, width: int) -> None:
        super().__init__()
        channels, height, side = shape
        self.ages, self.repeats = ages, max(1, z // ages)
        start = (4 * width, height // 4, side // 4)
        self.body = nn.Sequential(
            nn.Linear(z + self.repeats * ages, 4 * width * start[1] * start[2]),
            nn.ReLU(),
            nn.Unflatten(1, start),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, channels, 5, 1, 2),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, age: Tensor) -> Tensor:
        """The images."""
        return cast(Tensor, self.body(torch.cat([z, _signs(age, self.ages, z).repeat(1, self.repeats)], 1)))


class ImageDiscriminator(nn.Module):
    """Images [N,C,H,W] and ages to a logit; the age joins the first layer's maps."""

    def __init__(self, shape: tuple[int, ...], ages: int, *, width: int) -> None:
        super().__init__()
        channels, height, side = shape
        self.ages = ages
        self.first = nn.Sequential(nn.Conv2d(channels, width, 5, 2, 2), nn.ReLU())
        features = 2 * width * (height // 4) * (side // 4)
        second = nn.Conv2d(width + ages, 2 * width, 5, 2, 2)
        self.rest = nn.Sequential(second, nn.BatchNorm2d(2 * width), nn.ReLU(), nn.Flatten())
        self.dense = nn.Sequential(nn.Linear(features, 16 * width), nn.LeakyReLU(0.2))
        self.head = nn.Linear(16 * width, 1)

    def forward(self, x: Tensor, age: Tensor) -> DiscriminatorOutput:
        """The logits."""
        features = self.dense(self.rest(join(self.first(x), _signs(age, self.ages, x))))
        return DiscriminatorOutput(self.head(features).squeeze(1), features)


def code_discriminator(z: int) -> mlp.Discriminator:
    """Codes [N,z] to a logit: 64-32-16 with batch normalisation, as the authors have it."""
    pairs = pairwise((z, 64, 32, 16))
    layers = [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU())]
    return mlp.Discriminator(nn.Sequential(*layers), 16)


class Restyle(nn.Module):
    """What is exported: the image of an age, from the code of a picture, or of the prior where a row has no picture."""

    def __init__(self, encoder: nn.Module, generator: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.generator = generator

    def forward(self, z: Tensor, age: Tensor, picture: Tensor, has_picture: Tensor) -> Tensor:
        """The images."""
        return cast(Tensor, self.generator(torch.where(has_picture[:, None], self.encoder(picture), z), age))


def _signs(age: Tensor, ages: int, like: Tensor) -> Tensor:
    """1 at the age and -1 elsewhere, [N,ages]."""
    return 2 * one_hot(age, ages, like) - 1
