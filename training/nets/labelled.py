"""The labelled samples of a semi-supervised game: an untrained net, so that checkpoints hold the samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Labelled(nn.Module):
    """``per_class`` samples of each class, drawn in batches by number."""

    x: Tensor
    """[classes * per_class, *shape], as the nets see them."""
    y: Tensor
    """int64 [classes * per_class]."""

    def __init__(self, shape: tuple[int, ...], classes: int, per_class: int) -> None:
        super().__init__()
        self.register_buffer("x", torch.zeros(classes * per_class, *shape))
        self.register_buffer("y", torch.arange(classes).repeat_interleave(per_class))

    def batch(self, number: int, size: int) -> tuple[Tensor, Tensor]:
        """Samples and labels number * size, ... of an endless row of fresh permutations; the same for the same number."""
        count, first = len(self.y), number * size
        epochs = range(first // count, (first + size - 1) // count + 1)
        order = torch.cat([_permutation(count, epoch) for epoch in epochs])
        rows = order[first % count :][:size].to(self.y.device, non_blocking=True)
        return self.x[rows], self.y[rows]


def choose(labels: Tensor, per_class: int, *, seed: int) -> Tensor:
    """Places int64 [classes * per_class] of samples chosen evenly, class after class, from labels int64 [N].

    The same for the same labels and seed; fewer labels a class are the first of more.

    Raises:
        ValueError: a class has fewer samples.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    shuffled = labels[order]
    chosen = []
    for label in range(int(labels.max()) + 1):
        places = order[shuffled == label][:per_class]
        if len(places) < per_class:
            raise ValueError(f"class {label} has {len(places)} samples, and {per_class} of each are to be labelled")
        chosen.append(places)
    return torch.cat(chosen)


def _permutation(count: int, seed: int) -> Tensor:
    """Drawn on the CPU, so that it is the same for every device."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed), device="cpu")
