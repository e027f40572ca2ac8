"""Nets of PPGN: classifiers, a generator of images from a classifier's features, and the sampler that climbs to a class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput
from training.nets import mlp

Activation = Literal["relu", "sigmoid"]
HIGHEST = 30.0
"""Greatest value of a feature while sampling, as in Evolving-AI-Lab/ppgn."""
GRID = 1024.0
"""Features are rounded to multiples of one over this after each step, so that differences of rounding end there."""


@dataclass(frozen=True)
class Layer:
    """A linear layer and its activation as plain tensors."""

    weight: Tensor
    bias: Tensor
    activation: Activation


class Dense(nn.Module):
    """Linear layers with an activation each, whose pull-back is written out, so that a graph of forward steps can hold it."""

    def __init__(self, sizes: Sequence[int], activations: Sequence[Activation]) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activations = tuple(activations)

    def layers(self, dtype: torch.dtype) -> list[Layer]:
        """The weights as numbers of that type."""
        parts = zip(cast(Iterable[nn.Linear], self.linears), self.activations, strict=True)
        return [Layer(linear.weight.to(dtype), linear.bias.to(dtype), activation) for linear, activation in parts]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Each layer's output, after its activation."""
        return forward(self.layers(x.dtype), x)


def forward(layers: Sequence[Layer], x: Tensor) -> list[Tensor]:
    """Each layer's output, after its activation."""
    outputs: list[Tensor] = []
    for layer in layers:
        x = F.linear(x, layer.weight, layer.bias)
        x = F.relu(x) if layer.activation == "relu" else x.sigmoid()
        outputs.append(x)
    return outputs


def pull_back(layers: Sequence[Layer], outputs: Sequence[Tensor], gradient: Tensor) -> Tensor:
    """The gradient by the input, from that by the last output and the outputs of ``forward``."""
    for layer, output in zip(reversed(layers), reversed(outputs), strict=True):
        slope = (output > 0).to(output.dtype) if layer.activation == "relu" else output * (1 - output)
        gradient = (gradient * slope) @ layer.weight
    return gradient


class FeatureClassifier(nn.Module):
    """Images through a layer ``h1`` to features ``h``, and from these to classes."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, hidden: int, features: int) -> None:
        super().__init__()
        self.encoder = Dense([math.prod(shape), hidden, features], ["relu", "relu"])
        self.last = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,classes] of images."""
        return cast(Tensor, self.last(self.encode(x)[-1]))

    def encode(self, x: Tensor) -> list[Tensor]:
        """The layer ``h1`` and the features ``h`` of images."""
        return cast(list[Tensor], self.encoder(x.flatten(1)))


class FeatureGenerator(nn.Module):
    """Images in [0,1] from features; the class is no input."""

    def __init__(self, features: int, hidden: Sequence[int], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        activations: list[Activation] = [*(["relu"] * len(hidden)), "sigmoid"]  # type: ignore[list-item]
        self.body = Dense([features, *hidden, math.prod(shape)], activations)

    def forward(self, h: Tensor, y: Tensor | None = None) -> Tensor:
        return cast(Tensor, self.body(h)[-1].unflatten(1, self.shape))


class UnconditionalDiscriminator(nn.Module):
    """A discriminator that takes no notice of the class, which only sampling has."""

    def __init__(self, shape: tuple[int, ...], hidden: list[int]) -> None:
        super().__init__()
        self.net = mlp.discriminator(shape, hidden, act=nn.LeakyReLU(0.2))

    def forward(self, x: Tensor, y: Tensor | None = None) -> DiscriminatorOutput:
        return cast(DiscriminatorOutput, self.net(x))


class PlugAndPlay(nn.Module):
    """Sampling as a chain over features, unrolled: equation 11 of arXiv:1612.00005, without noise.

    Each step adds rate * d / mean |d| with d = prior * (R(h) - h) + condition * d log C(y | G(h)) / dh, R(h) the features of
    G(h), and keeps features within 0..30, as Evolving-AI-Lab/ppgn does. The gradient is written out, so that the graph needs
    no automatic differentiation. The chain enlarges differences of its numbers from step to step, so they are float64 and
    features are rounded to a grid after each step.
    """

    def __init__(
        self,
        g: FeatureGenerator,
        encoder: FeatureClassifier,
        c: FeatureClassifier,
        *,
        rates: Sequence[float],
        prior: float,
        condition: float = 1.0,
    ) -> None:
        """Args:
        g: generator.
        encoder: whose features G takes, R's other half.
        c: classifier of what is asked for; it may be the encoder itself or any other classifier of such images.
        rates: the rate of each step.
        prior: epsilon 1, the weight of the reconstruction of features.
        condition: epsilon 2, the weight of the class.
        """
        super().__init__()
        self.g, self.encoder, self.c = g, encoder, c
        self.rates = tuple(map(_single, rates))
        self.prior, self.condition = _single(prior), _single(condition)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Images of the classes ``y`` from start features ``h``."""
        chain, h = _Chain(self), h.double()
        for rate in self.rates:
            direction = chain.direction(h, y)
            size = direction.abs().mean(1, keepdim=True).clamp_min(1e-20)
            h = torch.round((h + rate * direction / size).clamp(0.0, HIGHEST) * GRID) / GRID
        return cast(Tensor, forward(chain.g, h)[-1].float().unflatten(1, self.g.shape))

    def direction(self, h: Tensor, y: Tensor) -> Tensor:
        """The step before its length is set, [N,features], in float64."""
        return _Chain(self).direction(h.double(), y)


def _single(number: float) -> float:
    """The number in single precision: torch's exporter writes the factors of float64 tensors so, and both must be equal."""
    return torch.tensor(number).item()


class _Chain:
    """One step's direction, by weights that were cast once."""

    def __init__(self, sampler: PlugAndPlay, dtype: torch.dtype = torch.float64) -> None:
        self.g = sampler.g.body.layers(dtype)
        self.encoder = sampler.encoder.encoder.layers(dtype)
        self.c = sampler.c.encoder.layers(dtype)
        self.is_own = sampler.c is sampler.encoder
        self.last = sampler.c.last.weight.to(dtype), sampler.c.last.bias.to(dtype)
        self.prior, self.condition = sampler.prior, sampler.condition

    def direction(self, h: Tensor, y: Tensor) -> Tensor:
        """The step before its length is set, [N,features]."""
        made = forward(self.g, h)
        seen = forward(self.c, made[-1])
        weight, bias = self.last
        likelihoods = F.linear(seen[-1], weight, bias).softmax(1)
        by_logits = F.one_hot(y, len(bias)).to(h.dtype) - likelihoods
        by_image = pull_back(self.c, seen, by_logits @ weight)
        direction = pull_back(self.g, made, by_image).mul(self.condition)
        if not self.prior:
            return direction
        features = seen[-1] if self.is_own else forward(self.encoder, made[-1])[-1]
        return direction + self.prior * (features - h)
