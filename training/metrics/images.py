"""Measures of images by what a classifier sees in them: KID, FID, classes, confidence, and the alarm for a collapse."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.data import DataSet
from training.metrics.classifier import ClassifierOutput
from training.metrics.points import modes_hit
from training.metrics.sequences import distinct

SUBSETS = 100
"""Random subsets over which KID is the mean."""
SUBSET_SIZE = 1_000
"""Images a subset, or as many as there are."""
SYNCHRONISE = False
"""Only rank 0 of a game by several ranks measures: torchmetrics would wait for the features of the others."""
CONFIDENT = 0.9
"""A classifier is confident from this probability of its likeliest class."""
AT_ONCE = 2**20
"""Values of items that are in memory as float64 at once, or one item."""
ALARM_EFFECTIVE_CLASSES = 0.6
"""Samples whose classes are fewer than this share of the data's are called collapsed; a class counts by exp(entropy)."""
ALARM_LEAST, ALARM_LEAST_A_CLASS = 100, 2
"""Fewer samples in all, or for each class or mode, say nothing of a collapse: two samples show two classes of ten at most."""
ALARM_SPREAD = 0.4
"""Samples spread less than this share of the data's spread are called collapsed."""

Estimate = tuple[float, float]
"""A value and its error."""


class GivenFeatures(nn.Module):
    """torchmetrics' feature module for features that are there already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


def kid(
    real: ClassifierOutput, fake: ClassifierOutput, *, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = 0
) -> Estimate:
    """Kernel Inception Distance (Binkowski et al., arXiv:1801.01401): unbiased MMD^2 with the kernel (x.y/d + 1)^3.

    Returns:
        Mean and standard deviation over ``subsets`` random subsets of ``subset_size`` images of each side, float64 throughout;
        around zero, and on either side of it, where both come from one distribution.
    """
    size = min(subset_size, len(real), len(fake))
    generator = torch.Generator().manual_seed(seed)

    def subset(output: ClassifierOutput) -> Tensor:
        return output.features[torch.randperm(len(output), generator=generator)[:size]]

    values = torch.stack([_squared_mmd(subset(real), subset(fake)) for _ in range(subsets)])
    return float(values.mean()), float(values.std(correction=0))


def _squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased MMD^2 of [N,D] and [N,D] with the cubic kernel (x.y/D + 1)^3: Gretton et al., JMLR 13, lemma 6, as KID takes it.

    ``torchmetrics`` gives the same, but its import takes two seconds of each training job.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    of_x, of_y, count = kernel(x, x), kernel(y, y), len(x)
    within = of_x.sum() - of_x.trace() + of_y.sum() - of_y.trace()
    return within / (count * (count - 1)) - 2 * kernel(x, y).mean()


def fid(real: ClassifierOutput, fake: ClassifierOutput) -> float:
    """Frechet distance of two Gaussians fitted to the features (Heusel et al., arXiv:1706.08500, eq. 6), in float64.

    It is biased upwards by few images: compare only equal counts, and with real data at that count.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance  # its import takes two seconds: only for who needs it

    metric = FrechetInceptionDistance(GivenFeatures(real.features.shape[1]), sync_on_compute=SYNCHRONISE)
    metric.update(real.features, real=True)
    metric.update(fake.features, real=False)
    return float(metric.compute())


def class_shares(classes: Tensor, count: int) -> Tensor:
    """The share of each of ``count`` classes, float64 [K], of int64 [N]."""
    return torch.bincount(classes.cpu(), minlength=count).double() / len(classes)


def entropy(shares: Tensor, samples: int) -> Estimate:
    """Entropy in nats of a class histogram [K], between 0 and ln K, and its standard error for that number of samples."""
    shares = shares[shares > 0]
    surprise = -shares.log()
    mean = float((shares * surprise).sum())
    variance = max(0.0, float((shares * surprise.square()).sum()) - mean * mean)
    return mean, math.sqrt(variance / samples)


def confidence(output: ClassifierOutput, *, bar: float = CONFIDENT) -> Estimate:
    """Share of images in which the likeliest class has at least that probability, and its standard error."""
    return share(output.probabilities.amax(1) >= bar)


def share(is_so: Tensor) -> Estimate:
    """Share of true among bool [N], and its standard error."""
    value = float(is_so.double().mean())
    return value, math.sqrt(value * (1 - value) / len(is_so))


def spread(items: Tensor, groups: Tensor | None = None) -> float:
    """Root mean square distance from the mean, or from the mean of the own group: [N,...] of any kind, groups int64 [N].

    It is the root mean square distance of two random items over sqrt(2).
    """
    parts = [items] if groups is None else [items[groups == group] for group in torch.unique(groups)]
    return math.sqrt(sum(map(_deviations, parts)) / len(items))


def _deviations(items: Tensor) -> float:
    """The sum of the squared distances from the mean of [N,...], in float64; read once, few items in memory at a time.

    The sums are of differences from the first item: near any mean, no digits are lost. What is kept of a part is added at once:
    a list of results between freed parts left holes of 2 GB in the allocator's heap.
    """
    flat = items.flatten(1)
    first = flat[:1].double()
    sums, squares = torch.zeros_like(first), 0.0
    for part in flat.split(max(1, AT_ONCE // first.numel())):
        apart = part - first
        sums += apart.sum(0)
        squares += float(apart.square_().sum())
    return max(0.0, squares - float(sums.square().sum()) / len(items))


def real_spread(data: DataSet, is_within_class: bool = False) -> float:
    """The spread of some 5,000 of the data's items, evenly taken, around their mean or that of their class."""
    stride = max(1, len(data) // 5_000)
    return spread(data.items[::stride], data.labels[::stride] if is_within_class and data.labels is not None else None)


def describe_collapse(
    samples: Tensor,
    data: DataSet,
    *,
    output: ClassifierOutput | None = None,
    asked: Tensor | None = None,
    spread_of_real: Callable[[bool], float] | None = None,
) -> str | None:
    """The sentence to print when a generator has collapsed, or None.

    Three criteria; the first that holds is reported. The samples show fewer than 60 % of the data's classes, counted by
    exp(entropy) of what a classifier saw and of the data's labels, or of the classes asked for; of a mixture, fewer than 60 %
    of the modes. The samples are spread less than 40 % as wide as the data; for a conditional generator, around the mean of
    each class asked for, since one picture a class would look wide; of sequences, fewer than 40 % as many are distinct.
    1,000 samples are enough. Fewer than 100 raise no alarm, and fewer than two for each class or mode none by classes or modes.

    Args:
        samples: uint8 [N,C,H,W], float32 [N,k] or int64 [N,t], as the data's items.
        data: what the generator was trained on.
        output: output of a classifier of the data on the samples; None uses their spread alone.
        asked: int64 [N], the class of the data that each sample was asked to show; None for an unconditional generator, or for
            one that is asked for something else, such as a parity.
        spread_of_real: ``real_spread`` of the data, where it is known from before; None computes it.
    """
    if len(samples) < ALARM_LEAST:
        return None
    samples = samples.to(data.items.device)
    if data.vocabulary is not None:
        return _repeated(samples, data)
    return (
        _few_classes(output, data, asked)
        or _few_modes(samples, data)
        or _narrow(
            samples, data, None if asked is None else asked.to(samples.device), spread_of_real or partial(real_spread, data)
        )
    )


def _few_classes(output: ClassifierOutput | None, data: DataSet, asked: Tensor | None) -> str | None:
    if output is None or len(output) < ALARM_LEAST_A_CLASS * (count := output.probabilities.shape[1]):
        return None
    shares = class_shares(output.classes, count)
    nats, _ = entropy(shares, len(output))
    expected = data.labels if asked is None else asked
    there = float(count)
    if expected is not None and len(data.classes) == count:
        there = math.exp(entropy(class_shares(expected, count), len(expected))[0])
    bound = math.log(ALARM_EFFECTIVE_CLASSES * there)
    if nats >= bound:
        return None
    top = int(shares.argmax())
    name = (output.names or data.classes)[top]
    return (
        f"collapse: {len(output):,} samples show {math.exp(nats):.1f} of {count} classes "
        f"(entropy {nats:.2f} nats, alarm below {bound:.2f}); {float(shares[top]):.0%} are {name!r}"
    )


def _few_modes(samples: Tensor, data: DataSet) -> str | None:
    if data.modes is None or data.mode_sd is None or len(samples) < ALARM_LEAST_A_CLASS * len(data.modes):
        return None
    hit, count = modes_hit(samples, data.modes, data.mode_sd), len(data.modes)
    if hit >= ALARM_EFFECTIVE_CLASSES * count:
        return None
    return f"collapse: {len(samples):,} samples hit {hit} of {count} modes (alarm below {ALARM_EFFECTIVE_CLASSES * count:g})"


def _repeated(samples: Tensor, data: DataSet) -> str | None:
    share = distinct(samples)
    ratio = share / distinct(data.items[: len(samples)])
    if ratio >= ALARM_SPREAD:
        return None
    return (
        f"collapse: {share:.0%} of {len(samples):,} sequences are distinct, {ratio:.0%} of the share in {data.name} "
        f"(alarm below {ALARM_SPREAD:.0%})"
    )


def _narrow(samples: Tensor, data: DataSet, asked: Tensor | None, spread_of_real: Callable[[bool], float]) -> str | None:
    is_asked = asked is not None and data.labels is not None and len(samples) >= ALARM_LEAST_A_CLASS * len(data.classes)
    real = spread_of_real(is_asked)
    ratio = spread(samples, asked if is_asked else None) / real if real > 0 else 1.0
    if ratio >= ALARM_SPREAD:
        return None
    within = " within a class" if is_asked else ""
    return (
        f"collapse: {len(samples):,} samples are spread{within} {ratio:.0%} as wide as {data.name} "
        f"(alarm below {ALARM_SPREAD:.0%})"
    )


def laplacian_energy(images: Tensor) -> float:
    """Mean square of the discrete Laplacian, images [N,C,H,W] in 0..1: greater where edges are sharper."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], device=images.device)[None, None]
    return float(F.conv2d(images.flatten(0, 1)[:, None], kernel).square().mean())
