"""The rows of a score: one measure each, of the samples and of real items in their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from training.data import DataSet
from training.data.oracle import ORACLES
from training.metrics import images, neighbours, points, sequences, stacked
from training.metrics.classifier import Classifier, ClassifierOutput
from training.metrics.images import Estimate
from training.metrics.parzen import CENTRES, VALIDATION, parzen
from training.metrics.sampled import Sampled

MANIFOLD = 10_000
"""Most images of each side for precision, recall, density and coverage."""
PARITY = ("even", "odd")
"""Classes of a model that is asked for the parity of a digit."""
MEMORISED = 2_000
"""Samples whose nearest training images are looked for, and as many test images."""


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One measure of the model."""

    measure: str
    """Its name; it says by which classifier's weights, ``kid-lenet@3fa1c2``."""
    value: float
    error: float | None = None
    """Standard error, or what ``by`` says; None where there is none."""
    real: float | None = None
    """What real data score in the model's place."""
    real_error: float | None = None
    samples: int
    """How many of the model's samples it was taken on."""
    by: str
    """How it was taken, in a few words."""


@dataclass(frozen=True)
class Reals:
    """Two disjoint sets of real items: the reference, and those that stand in the samples' place."""

    reference: Tensor
    labels: Tensor | None
    """int64 [N] of the reference, or None."""
    others: Tensor
    other_labels: Tensor | None
    """int64 of the others, or None."""
    note: str | None = None
    """What is unusual in the choice of the two, or None."""


def classifier_rows(sampled: Sampled, reals: Reals, classifier: Classifier) -> tuple[list[ScoreRow], dict[str, float]]:
    """The classifier's measures of the samples, and the share of each predicted class."""
    fake, real = classifier.features_of(sampled.items), classifier.features_of(reals.reference)
    n = min(len(fake), len(reals.others))
    others = classifier.features_of(reals.others[:n])
    tail, count = f"-{classifier.name}", len(classifier.classes)
    size = min(images.SUBSET_SIZE, n, len(real))
    is_whole = size == n == len(real)  # each subset would be all images, and the sd of the subsets 0
    subsets = f"all {size:,} at once" if is_whole else f"{images.SUBSETS} subsets of {size:,}, error is their sd"
    own_kid, real_kid = (
        images.kid(real, side, subsets=1)[0] if is_whole else images.kid(real, side) for side in (fake[:n], others)
    )
    shares, real_shares = (images.class_shares(output.classes, count) for output in (fake, real))
    rows = [
        _row("kid" + tail, own_kid, real_kid, n, subsets),
        _row("fid" + tail, images.fid(real, fake[:n]), images.fid(real, others), n, f"torchmetrics, {len(real):,} real"),
        _row(
            "confidence" + tail,
            images.confidence(fake),
            images.confidence(real),
            len(fake),
            f"share with a class at >= {images.CONFIDENT:g}",
        ),
        _row(
            "entropy" + tail,
            images.entropy(shares, len(fake)),
            images.entropy(real_shares, len(real)),
            len(fake),
            "of the class histogram, nats",
        ),
        _row("least-class" + tail, float(shares.min()), float(real_shares.min()), len(fake), "share of the rarest class"),
    ]
    rows += _manifold_rows(tail, real.features, fake.features[:n], others.features)
    group = _grouping(sampled.card.classes, classifier.classes)
    if sampled.asked is not None and group is not None:
        asked, seen = sampled.asked, group(fake.classes)
        real_value = None if reals.labels is None else images.share(group(real.classes) == group(reals.labels.cpu()))
        rows.append(_row("agreement" + tail, images.share(seen == asked), real_value, len(fake), "class asked = class seen"))
        rows += _within_rows(tail, real, fake[:n], asked[:n], others, reals, group)
    return rows, dict(zip(classifier.classes, shares.tolist(), strict=True))


def _grouping(classes: tuple[str, ...], known: tuple[str, ...]) -> Callable[[Tensor], Tensor] | None:
    """From the classifier's classes to the model's, where they are the same or their parity; else None."""
    if classes == known:
        return lambda seen: seen
    return (lambda seen: seen % 2) if classes == PARITY and known[:2] == ("0", "1") else None


def _within_rows(
    tail: str,
    real: ClassifierOutput,
    fake: ClassifierOutput,
    asked: Tensor,
    others: ClassifierOutput,
    reals: Reals,
    group: Callable[[Tensor], Tensor],
) -> list[ScoreRow]:
    """Recall within each class asked for, the mean over them; none where a class has too few samples or no labels are known."""
    if reals.labels is None or reals.other_labels is None:
        return []
    truth, other_truth = group(reals.labels.cpu()), group(reals.other_labels[: len(others)].cpu())
    values: list[tuple[float, float]] = []
    for label in asked.unique():
        known, made = real.features[truth == label][:MANIFOLD], fake.features[asked == label]
        unseen = others.features[other_truth == label]
        if min(len(known), len(made), len(unseen)) <= neighbours.NEAREST:
            return []
        values.append((neighbours.manifolds(known, made).recall, neighbours.manifolds(known, unseen).recall))
    own, real_value = (sum(column) / len(values) for column in zip(*values, strict=True))
    by = f"prdc, k = {neighbours.NEAREST}, the mean over the classes asked for"
    return [_row("recall-within" + tail, own, real_value, len(fake), by)]


def _manifold_rows(tail: str, real: Tensor, fake: Tensor, others: Tensor) -> list[ScoreRow]:
    """Of at most 10,000 features a side: the tables of distances grow with the square of that."""
    real, fake, others = (features[:MANIFOLD] for features in (real, fake, others))
    if min(len(real), len(fake)) <= neighbours.NEAREST:
        return []
    own, real_value = neighbours.manifolds(real, fake), neighbours.manifolds(real, others)
    by = f"prdc, k = {neighbours.NEAREST}, {len(real):,} real"
    names = [field.name for field in fields(own)]
    return [_row(name + tail, getattr(own, name), getattr(real_value, name), len(fake), by) for name in names]


def stacked_rows(items: Tensor, reals: Reals, classifier: Classifier) -> list[ScoreRow]:
    """Modes of 1,000 and their evenness, next to equally many real stacks and a perfect generator's score."""
    n = min(len(items), len(reals.others))
    fake, other = (stacked.modes_of(part, classifier) for part in (items[:n], reals.others[:n]))
    by = f"nats to uniform; a perfect generator's is {stacked.least_kl(n):.4f} with so few samples"
    return [
        _row(
            f"modes-{classifier.name}", stacked.count_modes(fake), stacked.count_modes(other), n, "of 1,000, a digit a channel"
        ),
        _row(f"reverse-kl-{classifier.name}", stacked.mode_kl(fake), stacked.mode_kl(other), n, by),
    ]


def nearest_row(sampled: Sampled, reals: Reals, device: torch.device) -> list[ScoreRow]:
    """The 1-NN test error of the labelled samples next to that of as many real training images; none without both labels."""
    if sampled.asked is None or reals.labels is None or reals.other_labels is None:
        return []
    n = min(len(sampled.items), len(reals.others))
    test, truth = reals.reference.to(device), reals.labels.to(device)
    value = neighbours.nearest_error(sampled.items[:n].to(device), sampled.asked[:n], test, truth)
    real_value = neighbours.nearest_error(reals.others[:n].to(device), reals.other_labels[:n], test, truth)
    return [_row("1nn-error", value, real_value, n, f"fitted on samples, asked {len(test):,} real images, pixels")]


def memorisation_row(items: Tensor, reals: Reals, device: torch.device) -> list[ScoreRow]:
    """Distance of samples to training images, next to that of unseen images; none where nothing is unseen."""
    if reals.note is not None:
        return []
    n = min(len(items), MEMORISED, len(reals.reference))
    train, test = reals.others.to(device), reals.reference[:n].to(device)
    value = neighbours.memorisation(items[:n].to(device), test, train)
    by = f"distance to the nearest of {len(train):,} training images over that of {n:,} test images"
    return [_row("memorisation", value, 1.0, n, by)]


def parzen_row(items: Tensor, reals: Reals, device: torch.device) -> ScoreRow:
    """The last sixth of the training images chooses sigma and gives no centres (MNIST: 50,000 to 60,000)."""
    others, test = reals.others.to(device), reals.reference.to(device)
    known = len(others) - max(1, len(others) // 6)
    validation = others[known:][:VALIDATION]
    n = min(len(items), CENTRES, known)
    value = parzen(items[:n].to(device), validation, test)
    real_value = parzen(others[:n], validation, test)
    return _row(
        "parzen",
        (value.mean, value.error),
        (real_value.mean, real_value.error),
        n,
        f"nats, sigma {value.sigma:.3g} (real data's {real_value.sigma:.3g}), {len(test):,} test images",
    )


def point_rows(items: Tensor, reals: Reals, data: DataSet) -> list[ScoreRow]:
    """Moments, distances, and what suits the toy: the curve's fit and coverage, or the modes."""
    n = min(len(items), len(reals.reference), len(reals.others))
    fake, real, other = items[:n], reals.reference[:n], reals.others[:n]
    rows = _moments(fake, other)
    rows.append(_of_both("sliced-w2", lambda items: points.sliced_w2(items, real), fake, other, "units of the data"))
    if fake.shape[1] == 1:
        rows.append(_of_both("w1", lambda items: points.w1(items, real), fake, other, "scipy, units of the data"))
    if data.name in points.PARABOLAS:
        fake, other = (points.PARABOLAS[data.name](part) for part in (fake, other))
        rows += [
            _of_both("curve-distance", points.curve_distance, fake, other, "median |y - (10 + x^2)| / 2500"),
            _of_both("x-coverage", points.x_coverage, fake, other, f"of {points.BINS} bins over -50..50"),
        ]
    if data.modes is not None and data.mode_sd is not None:
        rows += _mode_rows(fake, other, data.modes, data.mode_sd)
    return rows


def sequence_rows(items: Tensor, reals: Reals, data: DataSet) -> list[ScoreRow]:
    """How likely the oracle finds the sequences, where the data are an oracle's, and how many differ."""
    n = min(len(items), len(reals.others))
    fake, other = items[:n], reals.others[:n]
    rows = [_of_both("distinct", sequences.distinct, fake, other, "share of the sequences, repeated ones counted once")]
    oracle = ORACLES.get(data.name)
    if oracle is not None:
        by = "nats a token under the random LSTM that the data were drawn from"
        rows.insert(0, _of_both("oracle-nll", lambda items: sequences.oracle_nll(items, oracle), fake, other, by))
    return rows


def _moments(fake: Tensor, other: Tensor) -> list[ScoreRow]:
    rows = []
    for axis in range(fake.shape[1]):
        tail = "" if fake.shape[1] == 1 else f"-{axis}"
        own, real = fake[:, axis], other[:, axis]
        rows += [
            _of_both("mean" + tail, points.mean, own, real, "units of the data"),
            _of_both("sd" + tail, points.deviation, own, real, "units of the data"),
        ]
    return rows


def _mode_rows(fake: Tensor, other: Tensor, modes: Tensor, sd: float) -> list[ScoreRow]:
    near = f"within {points.HIGH_QUALITY:g} sd of a mode"
    return [
        _of_both("modes", lambda items: points.modes_hit(items, modes, sd), fake, other, f"of {len(modes)}, a sample {near}"),
        _of_both("high-quality", lambda items: points.high_quality(items, modes, sd), fake, other, f"share {near}"),
        _of_both("reverse-kl", lambda items: points.reverse_kl(items, modes), fake, other, "nearest modes to uniform, nats"),
    ]


def _of_both(name: str, measure: Callable[[Tensor], Estimate | float], fake: Tensor, other: Tensor, by: str) -> ScoreRow:
    return _row(name, measure(fake), measure(other), len(fake), by)


def _row(name: str, value: Estimate | float, real_value: Estimate | float | None, samples: int, by: str) -> ScoreRow:
    number, error = value if isinstance(value, tuple) else (value, None)
    real_number, real_error = real_value if isinstance(real_value, tuple) else (real_value, None)
    return ScoreRow(measure=name, value=number, error=error, real=real_number, real_error=real_error, samples=samples, by=by)
