"""LeNet: the small convolutional classifier of images, and its training. Nothing here knows files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VERSION = 3
"""Of the net and its training together; raise it whenever either changes, so that no older weights are taken for newer."""
FEATURES = 128
"""Width of the penultimate layer."""
NORMALISE_BY = 2_000
"""Images by which the features are scaled."""
AT_ONCE = NORMALISE_BY * 64 * 64
"""Values of images of which the features are computed at once then: 2,000 grey ones of 64x64, 166 of 128x128 in colour."""
SMALLEST = 8
"""Least side of an image, in pixels."""
LARGEST = 64
"""Longer sides are shortened to at most this by a whole factor: a step takes four times as long at twice the side."""


class LeNet(nn.Module):
    """Convolutions of 3x3 and pooling until the side is at most 7, then 128 rectified features and K logits.

    Sides of more than 64 pixels are shortened by averages. LeCun et al. 1998 in today's dress (ReLU, max-pooling, dropout).
    It sees uint8 images as they are served.
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < SMALLEST:
            raise ValueError(f"images must be at least {SMALLEST}x{SMALLEST}, got {height}x{width}")
        shrunk = -(-height // LARGEST), -(-width // LARGEST)
        layers: list[nn.Module] = [] if shrunk == (1, 1) else [nn.AvgPool2d(shrunk, ceil_mode=True)]
        height, width, wide = -(-height // shrunk[0]), -(-width // shrunk[1]), 16
        while max(height, width) > 7:
            layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
            channels, wide, height, width = wide, min(2 * wide, 64), -(-height // 2), -(-width // 2)
        layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU(), nn.Flatten()]
        self.body = nn.Sequential(*layers)
        self.penultimate = nn.Linear(wide * height * width, FEATURES)
        self.dropout = nn.Dropout(0.3)
        self.last = nn.Linear(FEATURES, classes)

    def features(self, images: Tensor) -> Tensor:
        """From uint8 [N,C,H,W] to float32 [N,128], each >= 0."""
        return F.relu(self.penultimate(self.body(images.float() / 127.5 - 1.0)))

    def logits(self, features: Tensor) -> Tensor:
        """From ``features`` to float32 [N,K]."""
        return torch.as_tensor(self.last(self.dropout(features)))


def trained(images: Tensor, labels: Tensor, *, classes: int, device: torch.device, seed: int = 0) -> LeNet:
    """A LeNet fitted to labelled images: AdamW, one cycle of the learning rate, each image shifted at random.

    The same arguments, device kind and thread count give the same weights; the caller's random state is left as it was.
    60,000 MNIST images take 9 epochs; smaller sets are seen about 80,000 times in all, 40 times each at most.

    Args:
        images: uint8 [N,C,H,W].
        labels: int64 [N], each 0..classes-1.
        classes: K.
        device: where to train.
        seed: of the weights, the order, the shifts and the dropout.
    """
    with _seeded(device, seed), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        net = LeNet(tuple(images.shape[1:]), classes).to(device)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        _fit(net, images.to(device), labels.to(device), torch.Generator().manual_seed(seed))
        _normalise(net, images[:NORMALISE_BY].to(device))
    return net


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """The random state of the CPU and of that device set, and given back afterwards; no other device is touched."""
    is_cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if is_cuda else []):
        torch.default_generator.manual_seed(seed)
        if is_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _fit(net: LeNet, images: Tensor, labels: Tensor, dice: torch.Generator) -> None:
    count = len(images)
    batch = min(count, 128 if count > 20_000 else 64)
    per_epoch = count // batch
    epochs = min(40, max(9, round(80_000 / count)))
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * per_epoch, pct_start=0.2)
    reach = images.shape[-1] // 14
    net.train()
    for _ in range(epochs):
        order = torch.randperm(count, generator=dice)
        for rows in torch.split(order[: per_epoch * batch], batch):
            rows = rows.to(images.device)
            output = _shifted(images[rows], reach, dice)
            loss = F.cross_entropy(net.logits(net.features(output)), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    net.eval()


@torch.no_grad()
def _normalise(net: LeNet, images: Tensor) -> None:
    """Bring the features to a mean square of 1 and leave the logits as they are, so that KID's kernel is near its bend.

    Unscaled, MNIST's have 9, the kernel is nearly a pure cube, and KID's subsets scatter more for the same difference.
    """
    parts = images.split(max(1, AT_ONCE // images[0].numel()))
    size = torch.cat([net.features(part) for part in parts]).square().mean().sqrt().clamp(min=1e-6)
    net.penultimate.weight.div_(size)
    net.penultimate.bias.div_(size)
    net.last.weight.mul_(size)


def _shifted(images: Tensor, reach: int, dice: torch.Generator) -> Tensor:
    """Images [N,C,H,W], each moved by up to ``reach`` pixels either way; what comes in from outside is 0."""
    height, width = images.shape[2:]
    moves = torch.randint(0, 2 * reach + 1, (2, len(images), 1), generator=dice)
    down = (moves[0] + torch.arange(height)).to(images.device)
    across = (moves[1] + torch.arange(width)).to(images.device)
    framed, rows = F.pad(images, (reach,) * 4), torch.arange(len(images), device=images.device)
    taken = framed[rows[:, None, None], :, down[:, :, None], across[:, None, :]]
    return taken.permute(0, 3, 1, 2)
