"""Discriminators made of others: packs of samples, logits that are only compared, nets without their batch norm."""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput
from training.nets.conv import ConvDiscriminator

T = TypeVar("T", bound=nn.Module)


class Packed(nn.Module):
    """Takes ``size`` samples at once, joined along their first axis: [N,C,...] -> [N/size, size C,...]; arXiv:1712.04086."""

    def __init__(self, inner: nn.Module, size: int) -> None:
        super().__init__()
        self.inner = inner
        self.size = size

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Samples that fill no pack are left out."""
        packs = len(x) // self.size
        packed = x[: packs * self.size].reshape(packs, self.size * x.shape[1], *x.shape[2:])
        return cast(DiscriminatorOutput, self.inner(packed))


class LossFunction(nn.Module):
    """Qi's D: the inner logit is minus a loss L; only differences of L mean anything, so that there is no threshold."""

    def __init__(self, inner: ConvDiscriminator, *, is_nonnegative: bool) -> None:
        """``is_nonnegative`` makes L = ReLU(-logit): LS-GAN; otherwise L is any number: GLS-GAN."""
        super().__init__()
        self.inner = inner
        self.is_nonnegative = is_nonnegative
        if is_nonnegative:
            # A ReLU that begins at zero for every sample has no gradient and never leaves it; L begins around one.
            nn.init.constant_(inner.head.bias, -1.0)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        output = cast(DiscriminatorOutput, self.inner(x))
        logit = -F.relu(-output.logit) if self.is_nonnegative else output.logit
        return DiscriminatorOutput(logit, output.features, threshold=None)


class ChannelBias(nn.Module):
    """What batch normalisation leaves when it no longer normalises: x + b for each channel, b from 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.view(-1, *[1] * (x.ndim - 2))


def without_norm(net: T) -> T:
    """The net, in place, with a bias wherever it had a batch normalisation."""
    for owner in list(net.modules()):
        for name, child in owner.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(owner, name, ChannelBias(child.num_features))
    return net
