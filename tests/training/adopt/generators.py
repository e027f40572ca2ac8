"""Generators written anew after published definitions, with random weights, and faulty ones."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DCGAN(nn.Module):
    """The shape of PyTorch's DCGAN example: z [n,100,1,1] to [n,3,32,32] in [-1,1]."""

    def __init__(self, latent: int = 100, width: int = 8) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent, width * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(width * 4),
            nn.ReLU(True),
        ]
        for factor in (4, 2):
            layers += [nn.ConvTranspose2d(width * factor, width * factor // 2, 4, 2, 1, bias=False)]
            layers += [nn.BatchNorm2d(width * factor // 2), nn.ReLU(True)]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = self.main(input)
        return out


class Conditional(nn.Module):
    """A class embedding next to the noise, dense layers, a sigmoid: [n,1,16,16] in [0,1]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.hidden = nn.utils.parametrizations.spectral_norm(nn.Linear(24, 32))
        self.last = nn.Linear(32, 256)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.hidden(torch.cat([noise, self.embedding(labels)], 1)), 0.2)
        return torch.sigmoid(self.last(hidden)).view(-1, 1, 16, 16)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style, and whose output is scaled back to unit variance."""

    def __init__(self, inputs: int, outputs: int, styles: int, kernel: int, is_demodulated: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.affine = nn.Linear(styles, inputs)
        self.is_demodulated = is_demodulated

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) + 1
        x = F.conv2d(x * style[:, :, None, None], self.weight, padding=self.weight.shape[-1] // 2)
        if self.is_demodulated:
            scale = (style.square() @ self.weight.square().sum((2, 3)).T + 1e-8).rsqrt()
            x = x * scale[:, :, None, None]
        return x


class StyleGenerator(nn.Module):
    """StyleGAN2's mapping and synthesis at 64x64 (Karras et al. 2020, arXiv:1912.04958): noise and psi are arguments."""

    RESOLUTIONS = (4, 8, 16, 32, 64)
    NOISE = sum(2 * side**2 for side in RESOLUTIONS) - 16

    def __init__(self, latent: int = 32, channels: int = 16) -> None:
        super().__init__()
        self.mapping = nn.Sequential(*(layer for _ in range(3) for layer in (nn.Linear(latent, latent), nn.LeakyReLU(0.2))))
        self.register_buffer("w_avg", torch.randn(latent) * 0.1)
        self.constant = nn.Parameter(torch.randn(1, channels, 4, 4))
        count = 2 * len(self.RESOLUTIONS) - 1
        self.layers = nn.ModuleList(ModulatedConv(channels, channels, latent, 3, True) for _ in range(count))
        self.strengths = nn.Parameter(torch.full((count,), 0.1))
        self.to_rgb = nn.ModuleList(ModulatedConv(channels, 3, latent, 1, False) for _ in self.RESOLUTIONS)

    def forward(self, z: Tensor, noise: Tensor | None = None, psi: Tensor | float = 1.0) -> tuple[Tensor, None]:
        w = self.mapping(z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt())
        w = self.w_avg + psi * (w - self.w_avg)
        x, picture, start, layer = self.constant.expand(z.shape[0], -1, -1, -1), torch.zeros(1, 3, 4, 4), 0, 0
        for place, side in enumerate(self.RESOLUTIONS):
            if place:
                x, picture = (F.interpolate(v, scale_factor=2.0, mode="bilinear") for v in (x, picture))
            for _ in range(1 if place == 0 else 2):
                x = self.layers[layer](x, w)
                if noise is None:
                    x = x + self.strengths[layer] * torch.randn_like(x[:, :1])
                else:
                    x = x + self.strengths[layer] * noise[:, start : start + side**2].view(-1, 1, side, side)
                x, start, layer = F.leaky_relu(x, 0.2), start + side**2, layer + 1
            rgb = self.to_rgb[place](x, w) * 0.1
            picture = picture + rgb
        return picture, None


class Large(nn.Module):
    """z [n,128] to [n,3,256,256] in [-1,1], doubled six times from a map of 4x4 by residual blocks; 25 million weights."""

    WIDTHS = (768, 768, 576, 384, 192, 96, 48)

    def __init__(self, share: int = 1) -> None:
        super().__init__()
        widths = [width // share for width in self.WIDTHS]
        self.first = nn.Linear(128, widths[0] * 16)
        self.blocks = nn.ModuleList(Doubling(a, b) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            x = block(x)
        return torch.tanh(self.last(F.relu(x)))


class Doubling(nn.Module):
    """Twice the side: two convolutions behind batch normalisation, added to a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.convs = nn.ModuleList([nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)])
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.convs[0](F.interpolate(F.relu(self.norms[0](x)), scale_factor=2.0))
        inner = self.convs[1](F.relu(self.norms[1](inner)))
        out: Tensor = F.interpolate(self.skip(x), scale_factor=2.0) + inner
        return out


def _seeded(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return kind()


def dcgan() -> nn.Module:
    return _seeded(DCGAN)


def conditional() -> nn.Module:
    return _seeded(Conditional)


def style() -> nn.Module:
    return _seeded(StyleGenerator)


def large() -> nn.Module:
    return _seeded(Large)


def narrow() -> nn.Module:
    """A twelfth as wide, for tests."""
    torch.manual_seed(1)
    return Large(12)


class Pictures(nn.Module):
    """z [n,12] as [n,3,2,2] in [-1,1]: what the faulty ones start from."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z).view(-1, 3, 2, 2)


class Dense(Pictures):
    """With one layer, so that weights can be false and latents too long."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 12)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(self.first(z))


class BatchStatistics(Pictures):
    """Normalises by the batch even in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.norm(super().forward(z)))


class BatchMean(Pictures):
    """Centres the batch without any layer that says so."""

    def forward(self, z: Tensor) -> Tensor:
        x = super().forward(z)
        return (x - x.mean(0)) / 2


class NumpyNoise(Pictures):
    """Draws noise where torch cannot see it."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) * float(np.random.default_rng().uniform())


class Unbounded(Pictures):
    """Leaves [-1,1]."""

    def forward(self, z: Tensor) -> Tensor:
        return z.view(-1, 3, 2, 2)


class Positive(Pictures):
    """In [0,1]."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z).view(-1, 3, 2, 2)


class Locked(Pictures):
    """Holds a lock, so that Python cannot copy it."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Levels(Pictures):
    """uint8 [n,h,w,c], rounded by the generator itself."""

    def forward(self, z: Tensor) -> Tensor:
        return (super().forward(z) * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


class Vectors(Pictures):
    """No pictures."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z)


class Infinite(Pictures):
    """Not finite."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) / 0


class NoOperator(Pictures):
    """Needs a Bessel function, which ONNX lacks."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.special.bessel_j0(super().forward(z))


class FixedRows(Pictures):
    """Takes the number of rows as a Python integer, which becomes a constant of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.full((1, 3, 2, 2), 0.5))

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) * self.shift.expand(len(z), -1, -1, -1)


class Deciding(Pictures):
    """Takes a branch by the greatest latent."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.clamp(-2, 2) if z.abs().max().item() > 2 else z)


class InstanceNorm(Pictures):
    """Normalises each picture by itself, which is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(3)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.norm(super().forward(z)))


class Dictionary(Pictures):
    """Returns a dictionary."""

    def forward(self, z: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"image": super().forward(z)}


def no_module() -> int:
    return 1
