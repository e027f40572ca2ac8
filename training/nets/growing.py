"""Progressive GAN's nets: Karras et al. 2018, arXiv:1710.10196; read in tkarras/progressive_growing_of_gans, networks.py.

All blocks are there from the start. Which of them take part is a state of the nets, so that a checkpoint holds it: ``level`` k
means images of 4 * 2^k, and ``alpha`` the share of its last block while it fades in. ``phase`` says the same without the share,
so that Python need not ask a GPU which operations come next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.game.step import DiscriminatorOutput
from training.nets.pyramid import halve

LEAK = 0.2
GAIN = math.sqrt(2)
"""He's gain, as the authors use it in front of a leaky ReLU, too."""
SMALLEST = 4
GROUP = 4
"""Samples over which a standard deviation is taken."""
EPSILON = 1e-8


class EqualConv(nn.Conv2d):
    """A convolution without a change of side, whose weights are N(0, 1) and are scaled by gain / sqrt(fan in) at run time.

    Adam's step does not depend on the scale of a gradient, so each weight learns at the same pace: section 4.1.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = GAIN) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.scale = _unscaled(self, gain)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self._conv_forward(x, self.weight * self.scale, self.bias))


class EqualLinear(nn.Linear):
    """A dense layer in the same way."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = GAIN) -> None:
        super().__init__(inputs, outputs)
        self.scale = _unscaled(self, gain)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


class PixelNorm(nn.Module):
    """Each pixel's channels divided by the root of their mean square: section 4.2. [N,C,...] -> [N,C,...]."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)


class MinibatchDeviation(nn.Module):
    """One channel more, constant in a group of samples: their standard deviation, averaged over channels and pixels; section 3.

    Sample i is in the group of i + N/4, i + 2N/4, ..., as in the authors' code; the last N mod 4 are a group of their own.
    [N,C,H,W] -> [N,C+1,H,W].
    """

    def forward(self, x: Tensor) -> Tensor:
        rest = len(x) % GROUP
        if rest == 0:
            return _with_deviation(x, GROUP)
        whole = [_with_deviation(x[:-rest], GROUP)] if len(x) > rest else []
        return torch.cat([*whole, _with_deviation(x[-rest:], rest)])


def _with_deviation(x: Tensor, group: int) -> Tensor:
    """[N,C,H,W] -> [N,C+1,H,W]; N is a multiple of the group."""
    variance = x.unflatten(0, (group, -1)).var(0, unbiased=False)
    mean = (variance + EPSILON).sqrt().mean((1, 2, 3))
    return torch.cat([x, mean.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)


@dataclass(frozen=True)
class Widths:
    """Channels at each level, min(base / 2^(level + 1), most), and at -1 the units of D's dense layer."""

    base: int
    most: int

    def at(self, level: int) -> int:
        return min(self.base >> (level + 1), self.most)


class Growing(nn.Module):
    """A net that grows: ``grow`` decides which levels take part."""

    level: Tensor
    """int64, the highest level in use."""
    alpha: Tensor
    """float32, share of that level in (0,1]; the rest is the one below, enlarged."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Raises: ValueError: the side is not 4 times a power of two."""
        super().__init__()
        side = shape[-1]
        self._height: float | None = None
        self.top = (side // SMALLEST).bit_length() - 1
        if side < SMALLEST or side != SMALLEST << self.top:
            raise ValueError(f"images of a net that grows must have a side of 4, 8, 16, 32, ..., got {side}: use --size")
        self.register_buffer("level", torch.tensor(0))
        self.register_buffer("alpha", torch.tensor(1.0))

    def grow(self, height: float) -> None:
        """Set level and alpha: 1.25 is level 2 with a share of a quarter; beyond the top the net is whole."""
        height = min(height, self.top)
        if height != self._height:
            level = math.ceil(height)
            self.level.fill_(level)
            self.alpha.fill_(1 - (level - height))
            self._height = height

    @property
    def phase(self) -> tuple[int, bool]:
        """The level, and whether it fades in: what decides which operations the net computes."""
        if self._height is None:
            level, alpha = self.now()
            self._height = level - (1 - alpha)
        level = math.ceil(self._height)
        return level, self._height < level

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        super()._load_from_state_dict(*args, **options)
        self._height = None

    def now(self) -> tuple[int, float]:
        """Level and alpha as numbers."""
        return int(self.level), float(self.alpha)

    def fade(self, x: Tensor) -> Tensor:
        """Real images as the net's present level has them, at full size: [N,C,H,W] -> [N,C,H,W]."""
        level, is_fading = self.phase
        small = halve(x, self.top - level)
        if is_fading:
            small = torch.lerp(enlarge(halve(small), 1), small, self.alpha)
        return enlarge(small, self.top - level)


class GrowingGenerator(Growing):
    """z, normalised, through a block for each level to an image, enlarged to the full size; not bounded."""

    def __init__(self, z: int, shape: tuple[int, ...], widths: Widths) -> None:
        super().__init__(shape)
        first = widths.at(0)
        stem = nn.Sequential(
            PixelNorm(),
            EqualLinear(z, first * SMALLEST**2, gain=GAIN / 4),
            nn.Unflatten(1, (first, SMALLEST, SMALLEST)),
            nn.LeakyReLU(LEAK),
            PixelNorm(),
            *_normalised(first, first),
        )
        higher = [
            nn.Sequential(
                nn.Upsample(scale_factor=2),
                *_normalised(widths.at(level - 1), widths.at(level)),
                *_normalised(widths.at(level), widths.at(level)),
            )
            for level in range(1, self.top + 1)
        ]
        self.blocks = nn.ModuleList([stem, *higher])
        levels = range(self.top + 1)
        self.to_image = nn.ModuleList([EqualConv(widths.at(level), shape[0], 1, gain=1.0) for level in levels])

    def forward(self, z: Tensor) -> Tensor:
        """z [N,size] -> [N,C,H,W]."""
        level, is_fading = self.phase
        return self.draw(z, level, self.alpha if is_fading else None)

    def draw(self, z: Tensor, level: int, alpha: Tensor | None = None) -> Tensor:
        """The image of that level, with a share ``alpha`` of its last block; None is all of it."""
        x = below = cast(Tensor, self.blocks[0](z))
        for block in self.blocks[1 : level + 1]:
            below, x = x, block(x)
        image = cast(Tensor, self.to_image[level](x))
        if alpha is not None:
            image = torch.lerp(enlarge(self.to_image[level - 1](below), 1), image, alpha)
        return enlarge(image, self.top - level)


class GrowingDiscriminator(Growing):
    """G's levels backwards: an image of full size, halved to the present level, to a score [N] whose zero means nothing."""

    def __init__(self, shape: tuple[int, ...], widths: Widths, *, has_deviation: bool = True) -> None:
        super().__init__(shape)
        levels = range(self.top + 1)
        self.from_image = nn.ModuleList(
            [nn.Sequential(EqualConv(shape[0], widths.at(level), 1), nn.LeakyReLU(LEAK)) for level in levels]
        )
        higher = [
            nn.Sequential(
                *_leaky(widths.at(level), widths.at(level)), *_leaky(widths.at(level), widths.at(level - 1)), nn.AvgPool2d(2)
            )
            for level in levels[1:]
        ]
        width = widths.at(0)
        last = nn.Sequential(
            *([MinibatchDeviation()] if has_deviation else []),
            *_leaky(width + has_deviation, width),
            nn.Flatten(),
            EqualLinear(width * SMALLEST**2, widths.at(-1)),
            nn.LeakyReLU(LEAK),
        )
        self.blocks = nn.ModuleList([last, *higher])
        self.head = EqualLinear(widths.at(-1), 1, gain=1.0)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """x [N,C,H,W]."""
        level, is_fading = self.phase
        small = halve(x, self.top - level)
        hidden = self.blocks[level](self.from_image[level](small))
        if is_fading:
            hidden = torch.lerp(self.from_image[level - 1](halve(small)), hidden, self.alpha)
        for lower in range(level - 1, -1, -1):
            hidden = self.blocks[lower](hidden)
        return DiscriminatorOutput(self.head(hidden).squeeze(1), hidden, threshold=None)


class Grown(nn.Module):
    """A generator held at its present level and alpha: a pure function of z, which can be exported."""

    alpha: Tensor | None

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = cast(GrowingGenerator, net)
        self.level, alpha = self.net.now()
        self.register_buffer("alpha", self.net.alpha.clone() if alpha < 1 else None, persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """z [N,size] -> [N,C,H,W]."""
        return self.net.draw(z, self.level, self.alpha)


@dataclass(frozen=True)
class Growth:
    """A player's ``before`` hook: the nets that grow, all at once, by the step alone."""

    stable: int
    """Steps at each level before the next one begins to fade in."""
    fading: int
    """Steps over which it does. With no steps of either kind the nets have their full size from the start."""

    def height(self, step: int) -> float:
        """Number of levels above the lowest; between two whole numbers the higher one fades in."""
        if not self.stable + self.fading:
            return math.inf
        level, within = divmod(step, self.stable + self.fading)
        return level + max(0, within - self.stable) / self.fading if self.fading else float(level)

    def __call__(self, nets: Mapping[str, nn.Module], step: int) -> None:
        """Set level and alpha of every net that grows."""
        for net in growing(nets):
            net.grow(self.height(step))

    def phase(self, nets: Mapping[str, nn.Module]) -> tuple[tuple[int, bool], ...]:
        """The phase of every net that grows."""
        return tuple(net.phase for net in growing(nets))


whole = Growth(0, 0)
"""Nets that could grow have their full size from the first step."""


def growing(nets: Mapping[str, nn.Module]) -> list[Growing]:
    """Those of the nets that grow."""
    return [net for net in nets.values() if isinstance(net, Growing)]


def enlarge(x: Tensor, times: int) -> Tensor:
    """Each pixel a square of 2^times x 2^times: [N,C,H,W] -> [N,C,H 2^times,W 2^times]."""
    return F.interpolate(x, scale_factor=1 << times, mode="nearest") if times else x


def _unscaled(layer: nn.Conv2d | nn.Linear, gain: float) -> float:
    """Draw the weights from N(0, 1), set biases to 0; the scale that He's initialisation would have had."""
    nn.init.normal_(layer.weight)
    nn.init.zeros_(cast(Tensor, layer.bias))
    return gain / math.sqrt(layer.weight[0].numel())


def _leaky(inputs: int, outputs: int) -> list[nn.Module]:
    return [EqualConv(inputs, outputs, 3), nn.LeakyReLU(LEAK)]


def _normalised(inputs: int, outputs: int) -> list[nn.Module]:
    return [*_leaky(inputs, outputs), PixelNorm()]
