"""Nets of improved-gan's MNIST code: noise between the layers of D, weights whose length is learned or set from data."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput
from training.nets.layers import normal
from training.nets.mlp import Generator


class GaussianNoise(nn.Module):
    """Adds N(0, sd) while training, nothing otherwise."""

    def __init__(self, sd: float) -> None:
        super().__init__()
        self.sd = sd

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sd * torch.randn_like(x) if self.training else x


class WeightNormLinear(nn.Module):
    """x W^T + b with rows of W of length ``scale``: Salimans and Kingma 2016, arXiv:1602.07868, eq. 2. [N,in] -> [N,out]."""

    scale: Tensor

    def __init__(self, inputs: int, units: int, *, weight: Callable[[Tensor], object], is_scale_trained: bool) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(units, inputs))
        weight(self.direction)
        self.bias = nn.Parameter(torch.zeros(units))
        if is_scale_trained:
            self.scale = nn.Parameter(torch.ones(units))
        else:
            self.register_buffer("scale", torch.ones(units))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.linear(x, self.weight, self.bias)
        return F.linear(x, self.direction) * self._gain() + self.bias  # there are fewer outputs than weights to scale

    @property
    def weight(self) -> Tensor:
        """[out,in]."""
        return self.direction * self._gain()[:, None]

    def _gain(self) -> Tensor:
        """Length of each row of the weight over that of its direction, [out]."""
        return self.scale / (1e-6 + self.direction.square().sum(1)).sqrt()

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Set scale and bias so that each output has mean 0 and deviation 1 on x [N,in]: arXiv:1602.07868, section 3."""
        activation = F.linear(x, self.weight)
        mean, deviation = activation.mean(0), activation.std(0, correction=0)
        self.bias.copy_(-mean / deviation)
        self.scale.div_(deviation)


class BatchNormShift(nn.BatchNorm1d):
    """Batch normalisation with a learned shift and no gain."""

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=1e-6)
        del self.weight
        self.register_buffer("weight", torch.ones(features))


class WeightNormClassifier(nn.Module):
    """Samples [N,...], flattened, noise before every layer, to K logits [N,K]; the features are the last hidden layer's."""

    def __init__(self, body: nn.Sequential, head: nn.Sequential) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        features = cast(Tensor, self.body(x.flatten(1)))
        return DiscriminatorOutput(self.head(features), features)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Set every layer from samples [N,...], one after the other, with the noise on."""
        x = x.flatten(1)
        for layer in (*self.body, *self.head):
            if isinstance(layer, WeightNormLinear):
                layer.fit(x)
            x = layer(x)


def classifier(shape: tuple[int, ...], hidden: list[int], classes: int) -> WeightNormClassifier:
    """shape -(noise .3) hidden -(noise .5) hidden ... - classes; ReLU, weight norm, only the last scale trained."""
    body: list[nn.Module] = []
    for number, (a, b) in enumerate(pairwise([math.prod(shape), *hidden])):
        layer = WeightNormLinear(a, b, weight=normal(0.1), is_scale_trained=False)
        body += [GaussianNoise(0.5 if number else 0.3), layer, nn.ReLU()]
    head = WeightNormLinear(hidden[-1], classes, weight=normal(0.1), is_scale_trained=True)
    return WeightNormClassifier(nn.Sequential(*body), nn.Sequential(GaussianNoise(0.5), head))


def generator(z: int, hidden: list[int], shape: tuple[int, ...]) -> Generator:
    """z - hidden, each batch-normalised without a gain, softplus - shape, weight-normalised, sigmoid."""
    body: list[nn.Module] = []
    for a, b in pairwise([z, *hidden]):
        body += [nn.Linear(a, b, bias=False), BatchNormShift(b), nn.Softplus()]
    for layer in body:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    last = WeightNormLinear(hidden[-1], math.prod(shape), weight=nn.init.xavier_uniform_, is_scale_trained=True)
    return Generator(nn.Sequential(*body, last, nn.Sigmoid()), shape)
