"""What is exported: modules from a graph's inputs to the contract's output, so that a reader never knows tanh from sigmoid."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from contract import Image, Output, Points, Tokens
from contract.pictures import PICTURE
from training.data import DataSet, Pixels
from training.data.pixels import to_levels, to_range


class ImageSampler(nn.Module):
    """Latents, and pictures uint8 [n,h,w,c] if there are any, to uint8 [n,h,w,c], rounded half to even: what clients see."""

    def __init__(self, inner: nn.Module, names: tuple[str, ...], pixels: Pixels) -> None:
        """``inner`` takes and gives images [n,c,h,w] in the range that ``pixels`` names; ``names`` are its inputs, in order."""
        super().__init__()
        self.inner = inner
        self.names = names
        self.pixels = pixels

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.round(self.levels(*inputs)).clamp(0, 255).to(torch.uint8)

    def levels(self, *inputs: Tensor) -> Tensor:
        """float32 [n,h,w,c] in 0..255, before rounding."""
        named = dict(zip(self.names, inputs, strict=True))
        if PICTURE in named:
            named[PICTURE] = to_range(named[PICTURE].permute(0, 3, 1, 2), self.pixels)
        x = cast(Tensor, self.inner(**named))
        return to_levels(x, self.pixels).permute(0, 2, 3, 1)


class PlainSampler(nn.Module):
    """Latents to float32 [n,k] in the units of the data, or to tokens int64 [n,t]: what ``inner`` gives."""

    def __init__(self, inner: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.inner = inner
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        return cast(Tensor, self.inner(**dict(zip(self.names, inputs, strict=True))))

    def levels(self, *inputs: Tensor) -> Tensor:
        """The same as float32, since nothing is rounded."""
        return self.forward(*inputs).float()


Sampler = ImageSampler | PlainSampler


def sampler_for(data: DataSet, inner: nn.Module, names: tuple[str, ...], pixels: Pixels) -> Sampler:
    """The sampler of a data set's kind of output."""
    return ImageSampler(inner, names, pixels) if data.is_image else PlainSampler(inner, names)


def output_of(data: DataSet) -> Output:
    """What the contract calls this data set's samples."""
    if data.is_image:
        channels, height, width = data.shape
        return Image(height, width, channels)
    if data.vocabulary is not None:
        return Tokens(data.shape[0], data.vocabulary)
    low, high = cast(tuple[tuple[float, ...], tuple[float, ...]], data.region)
    return Points(data.shape[0], low, high)
