"""Generators that are refused for the precision of their numbers, for a row alone, or as the service would refuse them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.training.adopt.generators import Dense, Pictures


class Half(Dense):
    """Computes in half precision inside ``forward``, as a generator for a GPU may."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.half())


class HalfConvolution(Pictures):
    """The same in front of a convolution, where torch's words are others."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.last(super().forward(z).to(torch.bfloat16))
        return out


class HalfOutput(Pictures):
    """Returns numbers that NumPy does not have."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).bfloat16()


class Squeezed(Dense):
    """Drops every axis of one, the rows' too."""

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z).view(-1, 3, 2, 2, 1).squeeze()
        return torch.tanh(x.permute(0, 1, 2, 3))


class Masked(Dense):
    """Weighs its latents by attention that may not see the last three."""

    hidden: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.arange(12) > 8)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.masked_fill(self.hidden, float("-inf")).softmax(1))


class Collapsed(Pictures):
    """Its pictures differ by less than a level."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z * 1e-6 + 0.3)
