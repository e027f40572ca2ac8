"""Layers and initialisations that the papers name and torch does not have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T", bound=nn.Module)
Init = Callable[[Tensor], object]


class Maxout(nn.Module):
    """The greatest of ``pieces`` linear functions per unit: Goodfellow et al. 2013, arXiv:1302.4389. [N,in] -> [N,units]."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units * pieces)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        pieces: Tensor = self.linear(x).unflatten(1, (-1, self.pieces))
        return pieces.max(2).values  # amax, which divides the gradient between equal pieces, takes up to twice as long


class Dropout(nn.Dropout):
    """``nn.Dropout`` by 16 random bits a value on the CPU, where torch's own mask takes three times as long.

    The probability is rounded to a multiple of 2**-16 (.2 is .199997); what is kept is divided by the share that is.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p in (0.0, 1.0) or x.device.type != "cpu":
            return super().forward(x)
        dropped = round(self.p * 2**16)
        words = torch.empty(math.ceil(x.numel() / 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        bits = words.view(torch.int16).as_strided(x.shape, torch.empty_like(x).stride())
        return x * (bits >= dropped - 2**15).to(x.dtype).mul_(2**16 / (2**16 - dropped))


class MinibatchDiscrimination(nn.Module):
    """Appends to each row how close it is to the others: Salimans et al. 2016, arXiv:1606.03498, section 3.2.

    M = T f(x), o(x_i)_b = sum_j exp(-|M_i,b - M_j,b|_1), j = i included as in gan-intro. [N,F] -> [N,F+kernels].
    """

    def __init__(self, inputs: int, kernels: int = 5, dim: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, kernels * dim)
        self.kernels = kernels

    def forward(self, x: Tensor) -> Tensor:
        m = self.linear(x).unflatten(1, (self.kernels, -1))
        distances = (m[:, None] - m[None, :]).abs().sum(3)
        return torch.cat([x, torch.exp(-distances).sum(1)], 1)


def deconv5(inputs: int, outputs: int, *, bias: bool = False) -> nn.ConvTranspose2d:
    """A transposed convolution of 5x5 that doubles the side: [N,in,H,W] -> [N,out,2H,2W]."""
    return nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, output_padding=1, bias=bias)


def initialise(net: T, weight: Init, *, bias: Init = nn.init.zeros_) -> T:
    """The net, with the weights of its linear and convolutional layers drawn by ``weight`` and their biases by ``bias``."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weight(module.weight)
            if module.bias is not None:
                bias(module.bias)
    return net


def normal(std: float) -> Init:
    """N(0, std)."""
    return lambda tensor: nn.init.normal_(tensor, 0.0, std)


def uniform(bound: float) -> Init:
    """U(-bound, bound)."""
    return lambda tensor: nn.init.uniform_(tensor, -bound, bound)


def initialise_he(net: T) -> T:
    """The net, with weights N(0, sqrt(2 / fan in)) and biases of zero: He et al. 2015, arXiv:1502.01852, eq. 10.

    The last layer, behind which is no ReLU, has 1 instead of 2. A number that a transposed convolution makes has
    in * k^2 / stride^2 inputs; torch's ``kaiming_normal_`` counts out * k^2.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        fan_in = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):
            fan_in = layer.weight[:, 0].numel() // math.prod(layer.stride)
        nn.init.normal_(layer.weight, 0.0, math.sqrt((1 if layer is layers[-1] else 2) / fan_in))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return net


def he_normal(weight: Tensor) -> Tensor:
    """N(0, sqrt(2 / fan_in)): what Kristiadi's ``xavier_init`` really is."""
    return nn.init.normal_(weight, 0.0, math.sqrt(2 / weight.shape[1]))
