"""Critics and generators of WGAN and of WGAN-GP."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeVar, cast

from torch import Tensor, nn

from training.game.step import DiscriminatorOutput
from training.nets.conv import ConvGenerator, dcgan_generator, dcgan_init, widths
from training.nets.layers import deconv5, initialise
from training.nets.mlp import Generator, generator

T = TypeVar("T", bound=nn.Module)


class Critic(nn.Module):
    """Samples through ``body`` to features [N,F] and by one linear layer to a score [N] whose zero means nothing."""

    def __init__(self, body: nn.Sequential, features: int, *, has_bias: bool = True) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(features, 1, bias=has_bias)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        features = cast(Tensor, self.body(x))
        return DiscriminatorOutput(self.head(features).squeeze(1), features, threshold=None)


def wgan_generator(z: int, shape: tuple[int, ...], *, width: int) -> ConvGenerator:
    """z - 4x4 - BN - ReLU - [deconv4 s2 - BN - ReLU]... - deconv4 s2 - tanh, no biases: WassersteinGAN/models/dcgan.py."""

    def deconv4(inputs: int, outputs: int) -> nn.Module:
        return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)

    return dcgan_generator(z, shape, width=width, last=nn.Tanh(), double=deconv4)


def wgan_critic(shape: tuple[int, ...], *, width: int) -> Critic:
    """conv4 s2 - LReLU .2 (no BN), then conv4 s2 - BN - LReLU .2 down to 4x4, then conv4 to one score; no biases."""
    channels, size, _ = shape
    down = widths(size, width, smallest=4)[::-1]
    body: list[nn.Module] = [nn.Conv2d(channels, down[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for a, b in pairwise(down):
        body += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
    end = size // 2 ** len(down)
    return dcgan_init(Critic(nn.Sequential(*body, nn.Flatten()), down[-1] * end * end, has_bias=False))


class Crop(nn.Module):
    """The first ``side`` rows and columns of maps [N,C,H,W]."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : self.side, : self.side]


def penalised_generator(z: int, shape: tuple[int, ...], *, width: int) -> ConvGenerator:
    """z - 4 * width maps, an eighth the side - [deconv5 s2 - ReLU]... - deconv5 s2 - sigmoid, maps cropped to fit: 8 -> 7.

    igul222/improved_wgan_training, gan_mnist.py, where width is 64; no batch normalisation.
    """
    channels, size, _ = shape
    eighth, quarter, half = (math.ceil(size / k) for k in (8, 4, 2))
    stem = nn.Sequential(nn.Linear(z, 4 * width * eighth * eighth), nn.Unflatten(1, (4 * width, eighth, eighth)))
    body = nn.Sequential(
        nn.ReLU(),
        deconv5(4 * width, 2 * width, bias=True),
        nn.ReLU(),
        Crop(quarter),
        deconv5(2 * width, width, bias=True),
        nn.ReLU(),
        Crop(half),
        deconv5(width, channels, bias=True),
        nn.Sigmoid(),
        Crop(size),
    )
    return _balanced(ConvGenerator(stem, body, 0))


def penalised_critic(shape: tuple[int, ...], *, width: int) -> Critic:
    """Three times conv5 s2 - LReLU .2, from ``width`` channels, doubling, then dense; no batch normalisation."""
    channels, size, _ = shape
    body: list[nn.Module] = []
    for a, b in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
        body += [nn.Conv2d(a, b, 5, 2, 2), nn.LeakyReLU(0.2)]
    return _balanced(Critic(nn.Sequential(*body, nn.Flatten()), 4 * width * math.ceil(size / 8) ** 2))


def toy_generator(shape: tuple[int, ...], *, width: int) -> Generator:
    """2 - three layers of ``width``, ReLU - shape: gan_toy.py of the same code, where width is 512."""
    return _toy_init(generator(2, [width] * 3, shape, act=nn.ReLU(), last=None))


def toy_critic(shape: tuple[int, ...], *, width: int) -> Critic:
    """shape - three layers of ``width``, ReLU - 1: gan_toy.py."""
    sizes = [math.prod(shape), width, width, width]
    body = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return _toy_init(Critic(nn.Sequential(*body), width))


def _balanced(net: T) -> T:
    """tflib's uniform weights of variance 4 / (fan in + fan out), 2 / (...) if dense; a stride divides the fan it thins."""
    initialise(net, nn.init.xavier_uniform_)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            area, thinned = math.prod(module.kernel_size), math.prod(module.kernel_size) / math.prod(module.stride)
            is_down = isinstance(module, nn.Conv2d)
            fan_in = module.in_channels * (area if is_down else thinned)
            fan_out = module.out_channels * (thinned if is_down else area)
            bound = math.sqrt(3 * 4 / (fan_in + fan_out))
            nn.init.uniform_(module.weight, -bound, bound)
    return net


def _toy_init(net: T) -> T:
    """tflib's uniform weights: variance 2 / fan in before a ReLU, 2 / (fan in + fan out) in the last layer."""
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    initialise(net, nn.init.kaiming_uniform_)
    nn.init.xavier_uniform_(layers[-1].weight)
    return net
