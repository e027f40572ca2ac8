"""Conditional nets: the label joined to the hidden layers (Mirza and Osindero) or to every layer (Radford's MNIST code)."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput
from training.nets.layers import Dropout, Maxout, deconv5, initialise, normal


class JointGenerator(nn.Module):
    """z and the one-hot label, each through a layer of its own, joined, through ``joint`` to samples [N,*shape]."""

    def __init__(
        self, noise: nn.Sequential, label: nn.Sequential, joint: nn.Sequential, classes: int, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.noise = noise
        self.label = label
        self.joint = joint
        self.classes = classes
        self.shape = shape

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """z [N,size], y int64 [N] -> [N,*shape]."""
        hidden = torch.cat([self.noise(z), self.label(one_hot(y, self.classes, z))], 1)
        return cast(Tensor, self.joint(hidden).unflatten(1, self.shape))


class JointDiscriminator(nn.Module):
    """Samples, flattened, and the one-hot label, each through a layer of its own, joined, to features [N,F] and a logit [N]."""

    def __init__(self, sample: nn.Sequential, label: nn.Sequential, joint: nn.Sequential, features: int, classes: int) -> None:
        super().__init__()
        self.sample = sample
        self.label = label
        self.joint = joint
        self.head = nn.Linear(features, 1)
        self.classes = classes

    def forward(self, x: Tensor, y: Tensor) -> DiscriminatorOutput:
        """x [N,...], y int64 [N]."""
        features = self.joint(torch.cat([self.sample(x.flatten(1)), self.label(one_hot(y, self.classes, x))], 1))
        return DiscriminatorOutput(self.head(features).squeeze(1), features)


def one_hot(y: Tensor, classes: int, like: Tensor) -> Tensor:
    """[N,classes] of int64 [N], in the type of ``like``."""
    return F.one_hot(y, classes).to(like.dtype)


def joint_generator(z: int, classes: int, shape: tuple[int, ...]) -> JointGenerator:
    """z - 200, y - 1000, together - 1200 - shape; ReLU and dropout .5, a sigmoid at the end: arXiv:1411.1784, section 4.1."""

    def hidden(inputs: int, units: int) -> list[nn.Module]:
        return [nn.Linear(inputs, units), nn.ReLU(), Dropout(0.5)]

    last = [nn.Linear(1200, math.prod(shape)), nn.Sigmoid()]
    joint = nn.Sequential(*hidden(1200, 1200), *last)
    return JointGenerator(nn.Sequential(*hidden(z, 200)), nn.Sequential(*hidden(classes, 1000)), joint, classes, shape)


def joint_discriminator(classes: int, shape: tuple[int, ...]) -> JointDiscriminator:
    """x - maxout 240 of 5, y - maxout 50 of 5, together - maxout 240 of 4; dropout .5: arXiv:1411.1784, section 4.1.

    A fifth of x is dropped, as in goodfeli/adversarial.
    """

    def hidden(inputs: int, units: int, pieces: int) -> nn.Sequential:
        return nn.Sequential(Maxout(inputs, units, pieces), Dropout(0.5))

    sample = nn.Sequential(Dropout(0.2), *hidden(math.prod(shape), 240, 5))
    return JointDiscriminator(sample, hidden(classes, 50, 5), hidden(290, 240, 4), 240, classes)


class EveryLayerGenerator(nn.Module):
    """The one-hot label joined to the input of every layer, as maps where the input is maps; to an image [N,C,H,W]."""

    def __init__(self, layers: list[nn.Sequential], classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.classes = classes

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """z [N,size], y int64 [N] -> [N,C,H,W]."""
        return through(self.layers, z, one_hot(y, self.classes, z))


class EveryLayerDiscriminator(nn.Module):
    """The one-hot label joined to the input of every layer; images [N,C,H,W] to features [N,F] and a logit [N]."""

    def __init__(self, layers: list[nn.Sequential], features: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(features + classes, 1, bias=False)
        self.classes = classes

    def forward(self, x: Tensor, y: Tensor) -> DiscriminatorOutput:
        """x [N,C,H,W], y int64 [N]."""
        label = one_hot(y, self.classes, x)
        features = through(self.layers, x, label)
        return DiscriminatorOutput(self.head(join(features, label)).squeeze(1), features)


def through(layers: nn.ModuleList, x: Tensor, label: Tensor) -> Tensor:
    """x through each layer, the label [N,K] joined to what goes in."""
    for layer in layers:
        x = layer(join(x, label))
    return x


def join(x: Tensor, label: Tensor) -> Tensor:
    """The label [N,K] behind the features of x [N,F], or as K constant maps behind those of [N,C,H,W]."""
    if x.ndim == 4:
        label = label[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, label], 1)


def every_layer_generator(z: int, classes: int, shape: tuple[int, ...], *, width: int, dense: int) -> EveryLayerGenerator:
    """dense - (2 * width maps, a quarter the side) - deconv5 s2 width - deconv5 s2 - sigmoid; no biases, bare BN, ReLU.

    Newmu/dcgan_code, mnist/train_cond_dcgan.py, where width is 64 and dense 1024.
    """
    channels, size, _ = shape
    maps, side = 2 * width, size // 4
    layers = [
        nn.Sequential(nn.Linear(z + classes, dense, bias=False), _bare1d(dense), nn.ReLU()),
        nn.Sequential(
            nn.Linear(dense + classes, maps * side * side, bias=False),
            _bare1d(maps * side * side),
            nn.ReLU(),
            nn.Unflatten(1, (maps, side, side)),
        ),
        nn.Sequential(deconv5(maps + classes, width), _bare2d(width), nn.ReLU()),
        nn.Sequential(deconv5(width + classes, channels), nn.Sigmoid()),
    ]
    net = EveryLayerGenerator(layers, classes)
    initialise(net, normal(0.02))
    return net


def every_layer_discriminator(classes: int, shape: tuple[int, ...], *, width: int, dense: int) -> EveryLayerDiscriminator:
    """conv5 s2 width - conv5 s2 2 * width - dense - 1; no biases, leaky ReLU .2, bare BN but on the first layer."""
    channels, size, _ = shape
    side = size // 4
    layers = [
        nn.Sequential(_conv5(channels + classes, width), nn.LeakyReLU(0.2)),
        nn.Sequential(_conv5(width + classes, 2 * width), _bare2d(2 * width), nn.LeakyReLU(0.2), nn.Flatten()),
        nn.Sequential(nn.Linear(2 * width * side * side + classes, dense, bias=False), _bare1d(dense), nn.LeakyReLU(0.2)),
    ]
    net = EveryLayerDiscriminator(layers, dense, classes)
    initialise(net, normal(0.02))
    return net


def _conv5(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, 2, 2, bias=False)


def _bare1d(features: int) -> nn.BatchNorm1d:
    """Batch normalisation without gain and shift."""
    return nn.BatchNorm1d(features, affine=False)


def _bare2d(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=False)
