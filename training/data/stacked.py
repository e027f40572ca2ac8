"""StackedMNIST: three random digits, one a channel, so that there are exactly 1,000 modes to find.

As Metz et al. (arXiv:1611.02163) and PacGAN (arXiv:1712.04086, section 4.2) have it: 128,000 images to train on. To test on
there are 26,000 of MNIST's test digits, as many as the measure draws.
"""

from __future__ import annotations

import torch
from numpy.random import RandomState
from torch import Tensor

from training.data.dataset import DataSet, Request
from training.data.mnist import MNIST, load_idx

NAME = "stackedmnist"
CHANNELS = 3
MODES = 1_000
COUNTS = {"train": 128_000, "test": 26_000}
SEEDS = {"train": 3, "test": 4}


def load_stacked(request: Request) -> DataSet:
    """Uint8 [N,3,28,28], or size x size, without labels; which digits meet is frozen (NumPy's RandomState).

    What is resized is each digit, once; the stacks are then filled channel by channel. At 28 the whole takes 300 MB, at 32
    400 MB, at 64 1.6 GB. Raises as ``load_idx``.
    """
    digits = load_idx(MNIST, request)
    chosen = RandomState(SEEDS[request.split]).randint(len(digits), size=(COUNTS[request.split], CHANNELS))
    return DataSet(
        name=NAME,
        items=stack(digits.items, torch.from_numpy(chosen)),
        labels=None,
        classes=(),
        licence=digits.licence,
        region=None,
    )


def stack(digits: Tensor, chosen: Tensor) -> Tensor:
    """Images [N,3,H,W] of digits [M,1,H,W], by the rows that int64 [N,3] names."""
    stacks = torch.empty(len(chosen), CHANNELS, *digits.shape[2:], dtype=digits.dtype)
    for channel, rows in enumerate(chosen.unbind(1)):
        stacks[:, channel] = digits[rows, 0]
    return stacks
