"""Differentiable augmentation of what a discriminator sees: Zhao et al. 2020, arXiv:2006.10738.

D sees every image, real or fake, changed at random; G is trained through the changes. With few images D cannot learn them by
heart, and G does not learn the changes, since real images have them, too.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from training.game.step import DiscriminatorOutput


class Augmented(nn.Module):
    """A discriminator that sees augmented images while it is trained, and images as they are in evaluation mode."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, **conditions: Tensor) -> DiscriminatorOutput:
        """x [N,C,H,W] in [-1,1]."""
        return cast(DiscriminatorOutput, self.net(augment(x) if self.training else x, **conditions))


def augment(x: Tensor) -> Tensor:
    """Images [N,C,H,W] in [-1,1], their colours changed and moved by up to an eighth of the side.

    The paper's third change, a rectangle of half the side cut out, is left out: in pictures of one small object it often hides
    the object, and a generator of empty pictures satisfied D.
    """
    return translate(recolour(x), 1 / 8)


def recolour(x: Tensor) -> Tensor:
    """Brightness moved by up to .5, saturation times 0 to 2, contrast times .5 to 1.5."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device)
    x = x + brightness - 0.5
    x = torch.lerp(x.mean(1, keepdim=True), x, 2 * saturation)
    return torch.lerp(x.mean((1, 2, 3), keepdim=True), x, 0.5 + contrast)


def translate(x: Tensor, share: float) -> Tensor:
    """Each image moved along both axes by up to this share of its side, in whole pixels; 0 comes in at the edges."""
    for axis in (2, 3):
        side = x.shape[axis]
        reach = round(share * side)
        source = torch.arange(side, device=x.device) + torch.randint(-reach, reach + 1, (len(x), 1), device=x.device)
        is_inside = (source >= 0) & (source < side)
        shape = (-1, 1, side, 1) if axis == 2 else (-1, 1, 1, side)
        x = x.gather(axis, source.clamp(0, side - 1).view(shape).expand_as(x)) * is_inside.view(shape)
    return x
