"""pix2pix at 28x28: a U-Net whose dropout is one of its inputs, and a discriminator of patches; Isola et al., arXiv:1611.07004.

Depth and widths are scaled down from phillipi/pix2pix, models.lua, whose U-Net ends at 1x1 after eight strided convolutions.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from training.game.step import DiscriminatorOutput


class UNet(nn.Module):
    """A picture [N,C,H,W] in [-1,1], sides divisible by 4, and dropout noise [N,noise] in [0,1], to an image of the same shape.

    The noise decides which half of the innermost decoder features is dropped, at training and at sampling, as the authors'
    dropout does: so a seed fixes it.
    """

    def __init__(self, shape: tuple[int, ...], *, width: int) -> None:
        super().__init__()
        channels, height, side = shape
        odd = (1 - height // 4 % 2, 1 - side // 4 % 2)
        self.dropped = (2 * width, height // 4, side // 4)
        self.down1 = nn.Conv2d(channels, width, 4, 2, 1)
        self.down2 = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1), _norm(2 * width))
        self.down3 = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(2 * width, 4 * width, 3, 2, 1))
        up = nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, output_padding=odd)
        self.up3 = nn.Sequential(nn.ReLU(), up, _norm(2 * width))
        self.up2 = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(4 * width, width, 4, 2, 1), _norm(width))
        self.up1 = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, channels, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor, picture: Tensor) -> Tensor:
        """The image."""
        fine = self.down1(picture)
        coarse = self.down2(fine)
        kept = 2.0 * (z > 0.5).to(z.dtype).unflatten(1, self.dropped)
        inner = self.up3(self.down3(coarse)) * kept
        middle = self.up2(torch.cat([inner, coarse], 1))
        return cast(Tensor, self.up1(torch.cat([middle, fine], 1)))


def dropout_size(shape: tuple[int, ...], *, width: int) -> int:
    """Size of the U-Net's noise."""
    return 2 * width * (shape[1] // 4) * (shape[2] // 4)


class PatchDiscriminator(nn.Module):
    """An image and the picture that it was made from, both [N,C,H,W], to a logit for each patch of 18x18, [N,patches]."""

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2 * channels, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            _norm(2 * width),
            nn.LeakyReLU(0.2),
        )
        self.head = nn.Conv2d(2 * width, 1, 3, 1, 1)

    def forward(self, x: Tensor, picture: Tensor) -> DiscriminatorOutput:
        """The logits."""
        features = self.body(torch.cat([x, picture], 1))
        return DiscriminatorOutput(self.head(features).flatten(1), features.flatten(1))


def _norm(channels: int) -> nn.Module:
    """The authors' batch normalisation at their batch size of 1; so no row depends on another one."""
    return nn.InstanceNorm2d(channels, affine=True)
