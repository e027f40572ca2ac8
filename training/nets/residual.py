"""R3GAN's nets: residual blocks of grouped convolutions, bilinear resampling, no normalisation; Huang et al., arXiv:2501.05441.

Read in brownvc/R3GAN (Networks.py, Resamplers.py). A net takes its stages, from the smallest map to the image's size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput

LEAK = 0.2
GAIN = math.sqrt(2 / (1 + LEAK**2))
"""Of a leaky ReLU, by which weights before it are scaled."""


@dataclass(frozen=True)
class Stage:
    """One resolution of a net."""

    width: int
    """Channels."""
    groups: int
    """Groups of the 3x3 convolutions, which have ``expansion`` times as many channels."""
    blocks: int = 2
    expansion: int = 2


def side(size: int, stages: int) -> int:
    """The side of the smallest map.

    Raises:
        ValueError: the size is not divisible by that power of two.
    """
    halvings = 1 << (stages - 1)
    if size % halvings:
        raise ValueError(f"images of {stages} stages need a side that is a multiple of {halvings}, got {size}")
    return size // halvings


class Block(nn.Module):
    """x + conv1(lrelu(conv3(lrelu(conv1(x))))), the 3x3 in groups, the last convolution zero at first."""

    def __init__(self, stage: Stage, depth: int) -> None:
        """``depth`` is the number of blocks of the whole net: weights are scaled by depth^(-1/(2*3-2)), as Fixup has it."""
        super().__init__()
        inner, gain = stage.width * stage.expansion, GAIN * depth ** (-1 / 4)
        self.body = nn.Sequential(
            _scaled(nn.Conv2d(stage.width, inner, 1), gain),
            nn.LeakyReLU(LEAK),
            _scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=stage.groups), gain),
            nn.LeakyReLU(LEAK),
            _scaled(nn.Conv2d(inner, stage.width, 1, bias=False), 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.body(x))


class Resample(nn.Module):
    """Twice or half the side by [1,3,3,1]/8 on both axes, zeros beyond the edge: a bilinear [1,2,1] filter for each phase."""

    kernel: Tensor

    def __init__(self, *, is_up: bool) -> None:
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(row, row)[None, None] * (4 if is_up else 1), persistent=False)
        self.is_up = is_up

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,H,W] -> [N,C,2H,2W], or [N,C,H/2,W/2]."""
        kernel = self.kernel.expand(x.shape[1], 1, 4, 4)
        resample = F.conv_transpose2d if self.is_up else F.conv2d
        return resample(x, kernel, stride=2, padding=1, groups=x.shape[1])


class Basis(nn.Module):
    """A learned map [C,s,s], each channel scaled by a linear function of z: [N,z] -> [N,C,s,s]."""

    def __init__(self, z: int, channels: int, side: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(channels, side, side))
        self.scale = _scaled(nn.Linear(z, channels, bias=False), 1.0)

    def forward(self, z: Tensor) -> Tensor:
        scale = cast(Tensor, self.scale(z))
        return self.basis * scale[:, :, None, None]


class Generator(nn.Module):
    """z [N,size] -> images [N,C,H,W], unbounded: there is no tanh."""

    def __init__(self, z: int, shape: tuple[int, ...], stages: tuple[Stage, ...]) -> None:
        super().__init__()
        channels, size, _ = shape
        depth = sum(stage.blocks for stage in stages)
        body: list[nn.Module] = [Basis(z, stages[0].width, side(size, len(stages))), *_blocks(stages[0], depth)]
        for before, stage in pairwise(stages):
            body += [*_widths(before.width, stage.width), Resample(is_up=True), *_blocks(stage, depth)]
        self.body = nn.Sequential(*body, _scaled(nn.Conv2d(stages[-1].width, channels, 1, bias=False), 1.0))

    def forward(self, z: Tensor) -> Tensor:
        return cast(Tensor, self.body(z))


class Discriminator(nn.Module):
    """Images [N,C,H,W] -> a logit [N], of which only differences count: G's stages backwards and a depthwise head."""

    def __init__(self, shape: tuple[int, ...], stages: tuple[Stage, ...]) -> None:
        super().__init__()
        channels, size, _ = shape
        depth = sum(stage.blocks for stage in stages)
        body: list[nn.Module] = [_scaled(nn.Conv2d(channels, stages[-1].width, 1, bias=False), 1.0)]
        for stage, after in pairwise(stages[::-1]):
            body += [*_blocks(stage, depth), Resample(is_up=False), *_widths(stage.width, after.width)]
        width = stages[0].width
        head = _scaled(nn.Conv2d(width, width, side(size, len(stages)), groups=width, bias=False), 1.0)
        self.body = nn.Sequential(*body, *_blocks(stages[0], depth), head, nn.Flatten())
        self.head = _scaled(nn.Linear(width, 1, bias=False), 1.0)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        features = cast(Tensor, self.body(x))
        return DiscriminatorOutput(self.head(features).squeeze(1), features, threshold=None)


def _blocks(stage: Stage, depth: int) -> list[nn.Module]:
    return [Block(stage, depth) for _ in range(stage.blocks)]


def _widths(inputs: int, outputs: int) -> list[nn.Module]:
    return [_scaled(nn.Conv2d(inputs, outputs, 1, bias=False), 1.0)] if inputs != outputs else []


def _scaled(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Conv2d | nn.Linear:
    """The layer with weights from N(0, gain / sqrt(fan in)) and biases of 0."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
