"""Convolutional nets: DCGAN's, and the small class-conditional pair of the default recipe."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput
from training.nets.layers import deconv5, initialise, normal

T = TypeVar("T", bound=nn.Module)


def widths(size: int, width: int, *, smallest: int) -> list[int]:
    """Channels from the smallest feature map up to the one before the image, doubling downwards from ``width``.

    An image of ``size`` is halved until it would be smaller than ``smallest``: 28 -> 7 (two halvings), 64 -> 4 (four).

    Raises:
        ValueError: the size cannot be halved at all.
    """
    halvings = 0
    while size % 2 == 0 and size // 2 >= smallest:
        size, halvings = size // 2, halvings + 1
    if not halvings:
        raise ValueError(f"images must have an even side of at least {2 * smallest}, got {size}")
    return [width * 2**i for i in reversed(range(halvings))]


class ConvGenerator(nn.Module):
    """Latents, joined, through a dense layer to a small map, then through ``body`` to an image [N,C,H,W]."""

    def __init__(self, stem: nn.Module, body: nn.Sequential, classes: int) -> None:
        """``classes`` > 0 adds a one-hot label to z."""
        super().__init__()
        self.stem = stem
        self.body = body
        self.classes = classes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z [N,size], y int64 [N] -> [N,C,H,W]."""
        if y is not None:
            z = torch.cat([z, F.one_hot(y, self.classes).to(z.dtype)], 1)
        return cast(Tensor, self.body(self.stem(z)))


class ConvDiscriminator(nn.Module):
    """Images [N,C,H,W] through ``body`` to features [N,F] and by one linear layer to a logit [N]."""

    def __init__(self, body: nn.Sequential, features: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(features, 1)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        features = cast(Tensor, self.body(x))
        return DiscriminatorOutput(self.head(features).squeeze(1), features)


class ProjectionDiscriminator(ConvDiscriminator):
    """Adds to the logit the inner product of the features with the class's embedding: arXiv:1802.05637, eq. 4."""

    def __init__(self, body: nn.Sequential, features: int, classes: int) -> None:
        super().__init__(body, features)
        self.embed = nn.Embedding(classes, features)

    def forward(self, x: Tensor, y: Tensor) -> DiscriminatorOutput:  # type: ignore[override]
        """x [N,C,H,W], y int64 [N]; the head ``classes`` [N,K] has the logits that x would have with each class."""
        output = super().forward(x)
        projection = (self.embed(y) * output.features).sum(1)
        classes = output.logit[:, None] + output.features @ self.embed.weight.T
        return DiscriminatorOutput(output.logit + projection, output.features, {"classes": classes})


def dcgan_generator(
    z: int, shape: tuple[int, ...], *, width: int, last: nn.Module, double: Callable[[int, int], nn.Module] = deconv5
) -> ConvGenerator:
    """Newmu's dcgan_code: dense - BN - ReLU - [deconv5 s2 - BN - ReLU]... - deconv5 s2 - ``last``, without biases.

    ``double`` makes another layer from and to numbers of channels in the place of deconv5 s2.
    """
    channels, size, _ = shape
    up = widths(size, width, smallest=4)
    start = size // 2 ** len(up)
    body: list[nn.Module] = [nn.BatchNorm2d(up[0]), nn.ReLU()]
    for a, b in pairwise(up):
        body += [double(a, b), nn.BatchNorm2d(b), nn.ReLU()]
    body += [double(up[-1], channels), last]
    stem = nn.Sequential(nn.Linear(z, up[0] * start * start, bias=False), nn.Unflatten(1, (up[0], start, start)))
    return dcgan_init(ConvGenerator(stem, nn.Sequential(*body), 0))


def dcgan_discriminator(shape: tuple[int, ...], *, width: int) -> ConvDiscriminator:
    """Newmu's dcgan_code: conv5 s2 - LReLU .2 (no BN), then conv5 s2 - BN - LReLU .2 with doubled channels, then dense."""
    channels, size, _ = shape
    down = widths(size, width, smallest=4)[::-1]
    body: list[nn.Module] = [nn.Conv2d(channels, down[0], 5, 2, 2), nn.LeakyReLU(0.2)]
    for a, b in pairwise(down):
        body += [nn.Conv2d(a, b, 5, 2, 2, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
    end = size // 2 ** len(down)
    return dcgan_init(ConvDiscriminator(nn.Sequential(*body, nn.Flatten()), down[-1] * end * end))


def dense_generator(z: int, shape: tuple[int, ...], *, width: int, dense: int, last: nn.Module) -> ConvGenerator:
    """dense - dense - (2 * width maps, a quarter of the side) - deconv5 s2 width - deconv5 s2 - ``last``; no biases.

    The layers of Newmu/dcgan_code's mnist/train_cond_dcgan.py without its labels, where width is 64 and ``dense`` 1024. Batch
    normalisation follows each layer but the last; behind a dense layer it normalises each unit.
    """
    channels, size, _ = shape
    maps, side = 2 * width, size // 4
    units = maps * side * side
    stem = nn.Sequential(
        nn.Linear(z, dense, bias=False),
        nn.BatchNorm1d(dense),
        nn.ReLU(),
        nn.Linear(dense, units, bias=False),
        nn.BatchNorm1d(units),
        nn.ReLU(),
        nn.Unflatten(1, (maps, side, side)),
    )
    body = nn.Sequential(deconv5(maps, width), nn.BatchNorm2d(width), nn.ReLU(), deconv5(width, channels), last)
    return dcgan_init(ConvGenerator(stem, body, 0))


def dense_discriminator(shape: tuple[int, ...], *, width: int, dense: int) -> ConvDiscriminator:
    """conv5 s2 width - conv5 s2 2 * width - dense - 1, leaky ReLU .2, batch normalisation after the second and the third."""
    channels, size, _ = shape
    side = size // 4
    body = nn.Sequential(
        nn.Conv2d(channels, width, 5, 2, 2, bias=False),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 5, 2, 2, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(2 * width * side * side, dense, bias=False),
        nn.BatchNorm1d(dense),
        nn.LeakyReLU(0.2),
    )
    return dcgan_init(ConvDiscriminator(body, dense))


def dcgan_init(net: T) -> T:
    """N(0, .02) for weights, N(1, .02) for the gains of batch normalisation, zero for biases."""
    initialise(net, normal(0.02))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return net


def small_generator(z: int, classes: int, shape: tuple[int, ...], *, width: int) -> ConvGenerator:
    """dense - BN - ReLU - [deconv4 s2 - BN - ReLU]... - deconv4 s2 - tanh, with ``2 * width`` channels before the image."""
    channels, size, _ = shape
    up = [2 * c for c in widths(size, width, smallest=4)]
    start = size // 2 ** len(up)
    stem = nn.Sequential(nn.Linear(z + classes, up[0] * start * start), nn.Unflatten(1, (up[0], start, start)))
    body: list[nn.Module] = [nn.BatchNorm2d(up[0]), nn.ReLU()]
    for a, b in pairwise(up):
        body += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
    return ConvGenerator(stem, nn.Sequential(*body, nn.ConvTranspose2d(up[-1], channels, 4, 2, 1), nn.Tanh()), classes)


def small_discriminator(classes: int, shape: tuple[int, ...], *, width: int) -> ProjectionDiscriminator:
    """[conv4 s2 - LReLU .2]... from ``width`` channels, doubling - dense 8 * width - LReLU .2; no batch normalisation."""
    return ProjectionDiscriminator(*_small_body(shape, width), classes)


def small_unlabelled_discriminator(shape: tuple[int, ...], *, width: int) -> ConvDiscriminator:
    """The same without classes."""
    return ConvDiscriminator(*_small_body(shape, width))


def _small_body(shape: tuple[int, ...], width: int) -> tuple[nn.Sequential, int]:
    """Layers before the head, and the number of features that they give."""
    channels, size, _ = shape
    down = widths(size, width, smallest=4)[::-1]
    end = size // 2 ** len(down)
    body: list[nn.Module] = []
    for a, b in pairwise([channels, *down]):
        body += [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2)]
    features = 8 * width
    body += [nn.Flatten(), nn.Linear(down[-1] * end * end, features), nn.LeakyReLU(0.2)]
    return nn.Sequential(*body), features
