"""Real batches and seeds: each is a function of its number alone, so that a resumed run draws what an unbroken one draws."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from training.data import DataError, DataSet, Pixels
from training.data.pixels import to_range
from training.game.ranks import ALONE, Ranks
from training.game.step import Batch


class Batches:
    """A data set on its device, cut into full batches of a fresh permutation each epoch; each rank gets its part of a batch."""

    def __init__(self, data: DataSet, size: int, *, seed: int, pixels: Pixels, ranks: Ranks = ALONE, least: int = 1) -> None:
        """Args:
            data: data set, on the device where batches are wanted.
            size: samples per batch, those of all ranks together.
            seed: seed of the permutations.
            pixels: range of images, ``unit`` for [0,1], ``tanh`` for [-1,1]; points are not scaled.
            ranks: the processes that share each batch equally.
            least: samples of a batch that each rank must have.

        Raises:
            DataError: the data set holds fewer samples than one batch, a batch cannot be divided among the ranks, or its part
                is too small.
        """
        if len(data.items) < size:
            raise DataError(f"{data.name} has {len(data.items)} samples, fewer than a batch of {size}: use a smaller --batch")
        if size % ranks.size:
            nearest = size - size % ranks.size or ranks.size
            raise DataError(f"{ranks.size} ranks cannot share a batch of {size} equally: use --batch {nearest}")
        if size // ranks.size < least:
            raise DataError(f"a batch of {size} is too small for this recipe: use --batch {least * ranks.size} or more")
        self.data = data
        self.size = size
        self._part = slice(ranks.rank * size // ranks.size, (ranks.rank + 1) * size // ranks.size)
        self.per_epoch = len(data.items) // size
        self._seed = seed
        self._pixels = pixels
        self.seconds = 0.0
        """Time that ``at`` took: on the CPU, what the game waited for its data."""
        self._epoch: tuple[int, Tensor] = (-1, torch.empty(0))

    def at(self, number: int) -> Batch:
        """This rank's part of batch ``number``, counted from 0 at the start of the run."""
        started_s = time.perf_counter()
        epoch, index = divmod(number, self.per_epoch)
        order = self.permutation(epoch)
        if self.data.prefetch:
            self.data.prefetch(order[(index + 1) * self.size : (index + 2) * self.size][self._part])
        batch = self.rows(order[index * self.size : (index + 1) * self.size][self._part])
        self.seconds += time.perf_counter() - started_s
        return batch

    def permutation(self, epoch: int) -> Tensor:
        """The order of the samples in an epoch, int64 [N]."""
        if self._epoch[0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, epoch))
            order = torch.randperm(len(self.data.items), generator=generator)
            self._epoch = (epoch, order.to(self.data.items.device))
        return self._epoch[1]

    def __len__(self) -> int:
        """Number of samples in the data set."""
        return len(self.data)

    @property
    def labels(self) -> Tensor | None:
        """Class of every sample, int64 [N]; None where the data has no labels."""
        return self.data.labels

    def rows(self, indices: Tensor) -> Batch:
        """Samples of the data set by index, int64 [N]."""
        items, labels, device = self.data.items, self.labels, self.data.device
        x = self.scale(items[indices.to(items.device)].to(device))
        return Batch(x, None if labels is None else labels[indices.to(labels.device)].to(device))

    def scale(self, items: Tensor) -> Tensor:
        """Stored samples in the range that the nets expect, float32."""
        if not self.data.is_image:
            return items
        return to_range(items, self._pixels)


def derive_seed(seed: int, counter: int, rank: int = 0) -> int:
    """A 32-bit seed for the counter-th event of a run; distinct for counters below 2**32.

    Ranks begin at multiples of 2**32 (sqrt(2) - 1), which stay far apart: those of 64 ranks by 5 10**7 counters and more.
    """
    return (seed * 0x9E3779B1 + rank * 0x6A09E667 + counter) % 2**32


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed the generators that a step draws from.

    ``torch.manual_seed`` also seeds every other kind of device and formats the call stack for those that are absent, which took
    a quarter of a small game's time.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
