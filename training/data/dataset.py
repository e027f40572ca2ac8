"""A data set as the training loop sees it: one tensor that lies on the device whole, or is the map of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

MOST_BYTES = 64 * 2**20
"""Of the parts in which the contents are read."""

Split = Literal["train", "test"]
Pixels = Literal["unit", "tanh"]
"""Range in which the nets see images: ``unit`` is [0,1], ``tanh`` is [-1,1]."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Images, points or sequences of tokens, in an order that is the same on every machine."""

    name: str
    """What it is called in cards and logs, such as ``mnist5k`` or ``folder:cats``; never a path of this machine."""
    items: Tensor
    """Images uint8 [N,C,H,W], C 1 (grey) or 3 (RGB); points float32 [N,k] in their own units; or tokens int64 [N,t]."""
    labels: Tensor | None
    """int64 [N], each an index into ``classes``; None when the items have no classes."""
    classes: tuple[str, ...]
    """The classes' names; empty when there are no labels."""
    licence: str
    """The items' licence."""
    region: tuple[tuple[float, ...], tuple[float, ...]] | None
    """Of points: the low and the high of each component that a plot shows. None for images and tokens."""
    modes: Tensor | None = None
    """Of a mixture: its centres, float32 [m,k], for scoring; None otherwise."""
    mode_sd: float | None = None
    """Of a mixture: the standard deviation of each component around its centre; None otherwise."""
    prefetch: Callable[[Tensor], None] | None = None
    """Of items that stay on disk, mapped into memory: tells the system which are read next; None for those in memory."""
    streamed_to: torch.device | None = None
    """Device to which batches of items on disk go; None for items that lie on their device whole."""
    vocabulary: int | None = None
    """Of sequences: the number of different tokens, each 0..vocabulary-1; None otherwise."""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def is_image(self) -> bool:
        return self.items.dtype == torch.uint8

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one item: (C, H, W), (k,) or (t,)."""
        return tuple(self.items.shape[1:])

    @property
    def device(self) -> torch.device:
        """Device of the batches."""
        return self.streamed_to or self.items.device

    def contents(self) -> Iterator[memoryview]:
        """The items one part after the other, as bytes of at most 64 MiB or one item: for a checksum of all."""
        for part in self.items.split(max(1, MOST_BYTES // max(1, self.items[:1].nbytes))):
            yield part.cpu().contiguous().numpy().data

    def to(self, device: torch.device | str) -> DataSet:
        """The same data set with its tensors on the device, or, of items on disk, with its batches there."""
        if self.prefetch is not None:
            return dataclasses.replace(self, streamed_to=torch.device(device))
        return dataclasses.replace(
            self,
            items=self.items.to(device),
            labels=None if self.labels is None else self.labels.to(device),
            modes=None if self.modes is None else self.modes.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a loader is asked for."""

    argument: str = ""
    """What stands behind the colon of the name: the path of ``folder:PATH``."""
    split: Split = "train"
    """Which part."""
    size: int | None = None
    """Height and width that images shall have; None leaves them as the data set has them."""
    environ: Mapping[str, str]
    """The environment, for ``DATA_ROOT``, ``XDG_CACHE_HOME`` and ``HOME``."""
    say: Callable[[str], None] = lambda text: None
    """Receives what took time."""
