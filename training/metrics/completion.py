"""Completion of images by a generator: the latents are searched whose image agrees with what is known of a picture.

Yeh et al. 2017, arXiv:1607.07539, as bamos/dcgan-completion.tensorflow computes it: the least of sum |M (G(z) - x)| plus lambda
times -log D(G(z)), by Adam on z, and the hole filled with what G made. docs/decisions/0022 lists what differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from contract import Categorical, Latents, Normal, Uniform, draw
from contract.latents import classes_of
from training.errors import ScoreError
from training.metrics.reconstruction import Make

MaskKind = Literal["center", "left", "random", "grid"]
HIDDEN_AT_RANDOM = 0.2
"""Share of the pixels that the mask ``random`` hides."""
KEPT_EVERY = 4
"""The mask ``grid`` keeps one pixel of this many in each direction."""
NORMAL_BOX = 2.0
"""Normal latents are kept within plus or minus this, as uniform ones within their bounds."""
PIXEL_SPAN = 2.0
"""The authors' pixels are in -1..1, ours in 0..1; their lambda belongs to theirs."""

ROWS = 2**16
"""Pictures whose starts have seeds of their own."""
MOST_STARTS = 2**32 // ROWS
"""Starts for each picture at most: a seed is below 2^32."""

Doubt = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""From images [n,C,H,W] in 0..1 and their latents to -log D of each, [n]."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """How the latents are searched."""

    steps: int = 1_000
    """Steps of Adam."""
    rate: float = 0.01
    """Adam's learning rate."""
    weight: float = 0.1
    """lambda, the weight of -log D."""
    starts: int = 1
    """Starts for each picture; after a tenth of the steps the best goes on alone."""
    batch: int = 100
    """Pictures at a time."""


@dataclass(frozen=True)
class Completed:
    """What was found for N pictures."""

    images: Tensor
    """float32 [N,C,H,W] in 0..1: G's images, whole."""
    first_loss: Tensor
    """float32 [N], the loss at the best start."""
    loss: Tensor
    """float32 [N], the loss at the end."""


def make_mask(kind: MaskKind, height: int, width: int, *, seed: int = 0) -> Tensor:
    """bool [H,W], True where a pixel is known, as the authors' program has these masks.

    ``center`` hides the middle half of each side, ``left`` the left half, ``random`` a fifth of the pixels, and ``grid`` all
    but every fourth pixel of every fourth row.
    """
    mask = torch.ones(height, width, dtype=torch.bool)
    match kind:
        case "center":
            mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = False
        case "left":
            mask[:, : width // 2] = False
        case "random":
            mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) >= HIDDEN_AT_RANDOM
        case "grid":
            mask[:] = False
            mask[::KEPT_EVERY, ::KEPT_EVERY] = True
    return mask


def complete(
    make: Make,
    latents: Latents,
    pictures: Tensor,
    mask: Tensor,
    how: Completion,
    *,
    doubt: Doubt | None = None,
    tell: Callable[[int, float], None] = lambda step, loss: None,
) -> Completed:
    """Search the latents of every picture.

    Args:
        make: the generator, its weights frozen, to images in 0..1.
        latents: its inputs. Continuous ones move; a class ``y`` is that of the start, start i taking class i, i + classes, ...
        pictures: float32 [N,C,H,W] in 0..1; pixels outside the mask are not read.
        mask: bool [H,W], True where a pixel is known.
        how: steps, rate, weight, starts.
        doubt: -log D, or None for no such term.
        tell: called after each step with the number of steps done and the mean loss of the batch.

    Raises:
        ScoreError: a loss is not finite.
    """
    found = []
    for number, part in enumerate(pictures.split(how.batch)):
        search = _Search(make, latents, part, mask, how, doubt)
        images, losses = search.run(number * how.batch, partial(_tell_from, tell, number * how.steps))
        found.append((images, *losses))
    return Completed(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _tell_from(tell: Callable[[int, float], None], before: int, step: int, loss: float) -> None:
    tell(before + step, loss)


class _Search:
    """The search for one batch of pictures."""

    def __init__(
        self, make: Make, latents: Latents, pictures: Tensor, mask: Tensor, how: Completion, doubt: Doubt | None
    ) -> None:
        self.make, self.latents, self.how, self.doubt = make, latents, how, doubt
        self.mask = mask.to(pictures.device)
        self.known = pictures * self.mask

    def run(self, first: int, tell: Callable[[int, float], None]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Images of the batch whose first picture has that index, and the losses before and after."""
        rows, starts = len(self.known), self.how.starts
        targets = self.known.repeat(starts, 1, 1, 1)
        z = self._start(first, starts)
        before = self._losses(z, targets)[1].detach()
        short = self.how.steps // 10 if starts > 1 else 0
        self._descend(z, targets, range(short), tell)
        best = self._losses(z, targets)[1].detach().reshape(starts, rows).argmin(0) * rows + torch.arange(
            rows, device=targets.device
        )
        z = {name: value[best].detach() for name, value in z.items()}
        self._descend(z, self.known, range(short, self.how.steps), tell)
        with torch.no_grad():
            images, loss = self._losses(z, self.known)
        self._require_finite(loss)
        return images, (before[best], loss)

    def _start(self, first: int, starts: int) -> dict[str, Tensor]:
        """Latents of each start, one start after the other; a picture's do not depend on its neighbours."""
        rows = len(self.known)
        drawn = draw(self.latents, [start * ROWS + first + row for start in range(starts) for row in range(rows)])
        z = {name: torch.from_numpy(values).to(self.known.device) for name, values in drawn.items()}
        if classes := classes_of(self.latents):
            z["y"] = torch.arange(starts, device=self.known.device).repeat_interleave(rows) % classes
        self._keep_inside(z)
        return z

    @torch.no_grad()
    def _keep_inside(self, z: Mapping[str, Tensor]) -> None:
        """Every continuous latent in its prior's box."""
        for name, value in z.items():
            match self.latents[name]:
                case Uniform(_, low, high):
                    value.clamp_(low, high)
                case Normal():
                    value.clamp_(-NORMAL_BOX, NORMAL_BOX)

    def _descend(self, z: dict[str, Tensor], targets: Tensor, steps: range, tell: Callable[[int, float], None]) -> None:
        """Adam on every continuous latent, which is kept within its prior's box. Rows do not influence each other."""
        moving = {
            name: z[name].requires_grad_() for name, latent in self.latents.items() if not isinstance(latent, Categorical)
        }
        optimiser = torch.optim.Adam(list(moving.values()), self.how.rate)
        for step in steps:
            losses = self._losses(z, targets)[1]
            self._require_finite(losses)
            optimiser.zero_grad()
            losses.sum().backward(inputs=list(moving.values()))
            optimiser.step()
            self._keep_inside(moving)
            tell(step + 1, float(losses.detach().mean()))

    def _require_finite(self, losses: Tensor) -> None:
        """Refuse the images of a search that has diverged: they are no completion."""
        if not bool(losses.isfinite().all()):
            how = f"the rate is {self.how.rate:g}, the weight of the discriminator {self.how.weight:g}"
            raise ScoreError(f"the loss of the search is not finite ({how}): use smaller ones")

    def _losses(self, z: Mapping[str, Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
        """Images, and the loss of each, [n]."""
        images = self.make(z)
        loss = PIXEL_SPAN * ((images - targets) * self.mask).abs().flatten(1).sum(1)
        return images, loss if self.doubt is None else loss + self.how.weight * self.doubt(images, z)


def fill(pictures: Tensor, mask: Tensor, images: Tensor) -> Tensor:
    """uint8 [N,C,H,W]: the pictures where they are known, elsewhere ``images`` (0..1) rounded; nothing is blended."""
    return torch.where(mask, pictures, (images * 255).round().clamp(0, 255).to(torch.uint8))


def fill_with_mean(pictures: Tensor, mask: Tensor) -> Tensor:
    """uint8 [N,C,H,W]: the hole filled with the mean of the picture's known pixels, channel by channel."""
    known = (pictures.float() / 255 * mask).flatten(2).sum(2) / mask.sum()
    return fill(pictures, mask, known[:, :, None, None].expand(pictures.shape))


def hole_psnr(made: Tensor, pictures: Tensor, mask: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over the hidden pixels of all images together, uint8 [N,C,H,W]; infinite if equal."""
    squares = (made.float() - pictures.float()).square()[:, :, ~mask].double().mean()
    return math.inf if squares == 0 else 10 * math.log10(255**2 / float(squares))


def doubt_of_logit(logit: Tensor, threshold: float) -> Tensor:
    """-log of the probability that a logit gives to "real"."""
    return F.softplus(threshold - logit)
