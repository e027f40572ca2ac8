"""Reconstruction error: how near G comes to an image that it never saw, min over z of ||x - G(z)||.

A measure of what G cannot make, as LS-GAN's author uses it (arXiv:1701.06264): it needs no classifier and sees every missing
mode. The minimum is looked for by gradient descent on z, so the figure is an upper bound that more steps and restarts lower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from contract import Categorical, Latents, Uniform, draw

Make = Callable[[Mapping[str, Tensor]], Tensor]
"""From latents by name to samples [n,...] on the scale of the targets, differentiable by the real-valued latents."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How hard the minimum is looked for."""

    steps: int = 300
    """Moves of Adam from each start."""
    restarts: int = 2
    """Starts, each from latents of another seed; the best of all counts."""
    rate: float = 0.05
    """Adam's, on latents of unit scale."""
    batch: int = 100
    """Targets at a time; it changes no result but by rounding."""


def reconstruct(make: Make, latents: Latents, targets: Tensor, *, search: Search, labels: Tensor | None = None) -> Tensor:
    """The least Euclidean distance found to each target, float32 [N].

    Real-valued latents move, uniform ones within their bounds. A categorical one keeps what its start drew, but ``y`` is the
    target's own label where labels are given.

    Args:
        make: the generator, its weights frozen.
        latents: what it is fed.
        targets: float32 [N,...] on its device.
        search: how hard to look.
        labels: int64 [N], or None.
    """
    found = []
    for start in range(0, len(targets), search.batch):
        rows = slice(start, min(start + search.batch, len(targets)))
        part = targets[rows]
        best = torch.full((len(part),), torch.inf, device=targets.device)
        for restart in range(search.restarts):
            first = restart * len(targets) + start
            drawn = draw(latents, range(first, first + len(part)))
            z = {name: torch.from_numpy(values).to(targets.device) for name, values in drawn.items()}
            if labels is not None and "y" in z:
                z["y"] = labels[rows].to(targets.device)
            best = torch.minimum(best, _descend(make, latents, z, part, search))
        found.append(best)
    return torch.cat(found)


def _descend(make: Make, latents: Latents, z: dict[str, Tensor], targets: Tensor, search: Search) -> Tensor:
    """The least distance seen on the way, float32 [n]."""
    moving = {name: z[name].requires_grad_() for name, latent in latents.items() if not isinstance(latent, Categorical)}
    optimiser = torch.optim.Adam(list(moving.values()), search.rate)
    best = torch.full((len(targets),), torch.inf, device=targets.device)
    for step in range(search.steps + 1):
        squares = (make(z) - targets).flatten(1).square().sum(1)
        best = torch.minimum(best, squares.detach().sqrt())
        if step == search.steps:
            break
        optimiser.zero_grad()
        squares.sum().backward(inputs=list(moving.values()))
        optimiser.step()
        _keep_inside(latents, moving)
    return best


@torch.no_grad()
def _keep_inside(latents: Latents, moving: Mapping[str, Tensor]) -> None:
    for name, value in moving.items():
        latent = latents[name]
        if isinstance(latent, Uniform):
            value.clamp_(latent.low, latent.high)
