"""Multilayer perceptrons: the nets of the first papers and of the toy games."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from training.game.step import DiscriminatorOutput
from training.nets.layers import Dropout, Maxout


class Generator(nn.Module):
    """z [N,size] through ``body`` to samples of ``shape``: [N,*shape]."""

    def __init__(self, body: nn.Sequential, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.body = body
        self.shape = shape

    def forward(self, z: Tensor) -> Tensor:
        return cast(Tensor, self.body(z).unflatten(1, self.shape))


class Discriminator(nn.Module):
    """Samples [N,...], flattened, through ``body`` to features [N,F] and by one linear layer to a logit [N]."""

    def __init__(self, body: nn.Sequential, features: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(features, 1)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        features = cast(Tensor, self.body(x.flatten(1)))
        return DiscriminatorOutput(self.head(features).squeeze(1), features)


def generator(z: int, hidden: list[int], shape: tuple[int, ...], *, act: nn.Module, last: nn.Module | None) -> Generator:
    """z - hidden layers, each followed by ``act`` - shape, followed by ``last`` (None: linear)."""
    layers = _dense([z, *hidden, math.prod(shape)], act)[:-1]
    return Generator(nn.Sequential(*layers, *([last] if last else [])), shape)


def discriminator(shape: tuple[int, ...], hidden: list[int], *, act: nn.Module) -> Discriminator:
    """shape - hidden layers, each followed by ``act`` - 1."""
    return Discriminator(nn.Sequential(*_dense([math.prod(shape), *hidden], act)), hidden[-1])


def _dense(sizes: list[int], act: nn.Module) -> list[nn.Module]:
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), act)]


def generator_norm_first(z: int, hidden: list[int], shape: tuple[int, ...]) -> Generator:
    """ReNom's generator: batch normalisation before each dense layer, the one on z included; ReLU; sigmoid at the end.

    ReNom draws the gains of batch normalisation as if they were a weight of shape [1,n], from N(0, sqrt(2 / (1 + n)))
    (``BatchNormalize(initializer=GlorotNormal())``); from gains of 1 its published curves are not found again.
    """
    sizes = [z, *hidden, math.prod(shape)]
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.BatchNorm1d(a), nn.Linear(a, b), nn.ReLU())][:-1]
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / (1 + layer.num_features)))
    return Generator(nn.Sequential(*layers, nn.Sigmoid()), shape)


def generator_norm(z: int, hidden: list[int], shape: tuple[int, ...]) -> Generator:
    """z - hidden layers without biases, each followed by batch normalisation and ReLU - shape: PacGAN's generator."""
    sizes = [z, *hidden]
    layers = [l for a, b in pairwise(sizes) for l in (nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU())]
    return Generator(nn.Sequential(*layers, nn.Linear(sizes[-1], math.prod(shape))), shape)


def discriminator_maxout(
    shape: tuple[int, ...], units: list[int], *, pieces: int, dropout: float, input_dropout: float = 0.0
) -> Discriminator:
    """Maxout layers, each followed by dropout; ``input_dropout`` is the share of the sample's values that is dropped."""
    sizes = [math.prod(shape), *units]
    layers = [layer for a, b in pairwise(sizes) for layer in (Maxout(a, b, pieces), Dropout(dropout))]
    first = [Dropout(input_dropout)] if input_dropout else []
    return Discriminator(nn.Sequential(*first, *layers), units[-1])
