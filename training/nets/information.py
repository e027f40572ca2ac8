"""InfoGAN's nets for small grey images (openai/InfoGAN, models/regularized_gan.py, network type "mnist")."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput
from training.nets.conv import dcgan_init

LEAK = 0.01
"""As the authors' code has it; their paper says .1."""


class CodedGenerator(nn.Module):
    """Noise z, a categorical code y, one-hot, and continuous codes c through ``body`` to an image [N,C,H,W]."""

    def __init__(self, body: nn.Sequential, categories: int) -> None:
        super().__init__()
        self.body = body
        self.categories = categories

    def forward(self, z: Tensor, y: Tensor, c: Tensor) -> Tensor:
        """z [N,size], y int64 [N], c [N,codes] -> [N,C,H,W]."""
        return cast(Tensor, self.body(torch.cat([z, F.one_hot(y, self.categories).to(z.dtype), c], 1)))


class ReadingDiscriminator(nn.Module):
    """Images through one trunk to a logit [N] and to Q's answers: ``y``, logits [N,K], and ``c``, means [N,codes]."""

    def __init__(self, trunk: nn.Sequential, features: int, reader: nn.Sequential, categories: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(features, 1)
        self.reader = reader
        self.categories = categories

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        features = cast(Tensor, self.trunk(x))
        answers = cast(Tensor, self.reader(features))
        heads = {"y": answers[:, : self.categories], "c": answers[:, self.categories :]}
        return DiscriminatorOutput(self.head(features).squeeze(1), features, heads)


def generator(noise: int, categories: int, codes: int, shape: tuple[int, ...], *, width: int, dense: int) -> CodedGenerator:
    """dense - BN - ReLU - 2 * width maps at a quarter - BN - ReLU - deconv4 s2 width - BN - ReLU - deconv4 s2 - sigmoid."""
    channels, size, _ = shape
    maps, side = 2 * width, size // 4
    body = nn.Sequential(
        nn.Linear(noise + categories + codes, dense),
        nn.BatchNorm1d(dense),
        nn.ReLU(),
        nn.Linear(dense, maps * side * side),
        nn.BatchNorm1d(maps * side * side),
        nn.ReLU(),
        nn.Unflatten(1, (maps, side, side)),
        nn.ConvTranspose2d(maps, width, 4, 2, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, channels, 4, 2, 1),
        nn.Sigmoid(),
    )
    return dcgan_init(CodedGenerator(body, categories))


def discriminator(categories: int, codes: int, shape: tuple[int, ...], *, width: int, dense: int) -> ReadingDiscriminator:
    """conv4 s2 width - conv4 s2 2 * width BN - dense BN, leaky; from there the logit, and Q: dense / 8 BN leaky - answers."""
    channels, size, _ = shape
    side = size // 4
    trunk = nn.Sequential(
        nn.Conv2d(channels, width, 4, 2, 1),
        nn.LeakyReLU(LEAK),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(LEAK),
        nn.Flatten(),
        nn.Linear(2 * width * side * side, dense),
        nn.BatchNorm1d(dense),
        nn.LeakyReLU(LEAK),
    )
    reader = nn.Sequential(
        nn.Linear(dense, dense // 8), nn.BatchNorm1d(dense // 8), nn.LeakyReLU(LEAK), nn.Linear(dense // 8, categories + codes)
    )
    net = dcgan_init(ReadingDiscriminator(trunk, dense, reader, categories))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.trunc_normal_(module.weight, 0.0, 0.02, -0.04, 0.04)
    return net
