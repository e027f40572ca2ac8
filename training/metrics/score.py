"""The score of a model: every measure that suits its output, each next to the score of as many real samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contract import Points, Tokens
from training.data import DataSet
from training.data.stacked import NAME as STACKED
from training.errors import ScoreError
from training.metrics.classifier import Classifier
from training.metrics.images import describe_collapse
from training.metrics.rows import (
    Reals,
    ScoreRow,
    classifier_rows,
    memorisation_row,
    nearest_row,
    parzen_row,
    point_rows,
    sequence_rows,
    stacked_rows,
)
from training.metrics.sampled import Sampled, sample_model

PIXEL_VALUES = 1_024
"""Images of more values than this (32x32 grey) have no measures by pixels: distances mean little there and take minutes."""
ALARM_SAMPLES = 1_000
MOST_REAL_BYTES = 512 * 2**20
"""Real images of a set on disk that are compared with, in bytes at most: they are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All that was measured of one model file."""

    model: str
    """Its name, from the card."""
    digest: str
    """SHA-256 of the file."""
    steps: int
    """After how many steps of training the model was exported, from the card."""
    data: str
    """The data set that it was measured against."""
    classifier: Mapping[str, Any] | None
    """The classifier: its name, the data it learned from, how often it is right; None where none was used."""
    rows: tuple[ScoreRow, ...]
    histogram: Mapping[str, float] = field(default_factory=dict)
    """Class name to the share of samples that show it; empty without a classifier."""
    alarm: str | None
    """The collapse alarm's sentence, or None."""
    notes: tuple[str, ...]
    """What was left out or done in another way than usual, in sentences."""

    @property
    def values(self) -> dict[str, float]:
        """Measure to value, as a card's scores."""
        return {row.measure: row.value for row in self.rows}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return dataclasses.asdict(self)


def score(
    model: Path,
    train: DataSet,
    test: DataSet | None,
    *,
    samples: int = 10_000,
    classifier: Classifier | None = None,
    examination: DataSet | None = None,
    nearest: int | None = None,
    device: torch.device | str = "cpu",
) -> Scores:
    """Run a model file and measure what it gives.

    Args:
        model: an exported ONNX file with its card inside.
        train: the model's training data, from which the real items that replace samples are taken.
        test: unseen data, the reference; None takes two disjoint halves of ``train``.
        samples: how many seeds, from 0.
        classifier: a classifier of such images, for StackedMNIST of one channel; None leaves out what needs one.
        examination: labelled images on which the classifier is examined; None takes the reference.
        nearest: how many seeds, from 0, the 1-NN classifier is fitted on; None takes ``samples``.
        device: where distances between pixels are computed; the classifier has its own.

    Raises:
        ScoreError: the file cannot be run, or the data are of another shape than its samples.
    """
    if samples < 2:
        raise ScoreError(f"samples must be at least 2, got {samples}")
    drawn = sample_model(model, max(samples, nearest or 0))
    sampled = drawn[:samples]
    check_shape(sampled, train)
    reals = _reals(train, test)
    if min(len(reals.reference), len(reals.others)) < 2:
        raise ScoreError(f"{train.name} has {len(train)} items; a score needs four, two as the reference and two in its place")
    notes = [reals.note] if reals.note else []
    if isinstance(sampled.card.output, Points):
        rows, histogram, classifier = point_rows(sampled.items, reals, train), dict[str, float](), None
    elif isinstance(sampled.card.output, Tokens):
        rows, histogram, classifier = sequence_rows(sampled.items, reals, train), {}, None
    elif train.name == STACKED:
        rows, histogram, more = _stacked_rows(sampled, reals, classifier)
        notes += more
    else:
        rows, histogram, more = _image_rows(sampled, reals, classifier)
        pixels, about = _pixel_rows(sampled, drawn[: nearest or samples], reals, train, torch.device(device))
        rows, notes = rows + pixels, notes + more + about
    first = sampled[:ALARM_SAMPLES]
    output = None if classifier is None or train.name == STACKED else classifier.features_of(first.items)
    asked = first.asked if first.card.classes == train.classes else None  # a parity is no class of the data
    alarm = describe_collapse(first.items, train, output=output, asked=asked)
    return Scores(
        model=sampled.card.name,
        digest=sampled.digest,
        steps=sampled.card.steps,
        data=train.name,
        classifier=None if classifier is None else _about(classifier, reals, examination),
        rows=tuple(rows),
        histogram=histogram,
        alarm=alarm,
        notes=tuple(notes),
    )


def check_shape(sampled: Sampled, data: DataSet) -> None:
    """Refuse samples of another shape or kind than the data's items.

    Raises:
        ScoreError: naming both.
    """
    made, real = tuple(sampled.items.shape[1:]), data.shape
    if made != real or sampled.items.dtype != data.items.dtype:
        raise ScoreError(f"{sampled.card.name} makes items of {list(made)}, {data.name} has {list(real)}; name other data")


def _reals(train: DataSet, test: DataSet | None) -> Reals:
    items, labels = mixed(train)
    if test is not None:
        return Reals(test.items, test.labels, items, labels)
    half = len(items) // 2
    taken = f"its {len(items):,}" if len(items) == len(train) else f"{len(items):,} of its {len(train):,}"
    note = (
        f"{train.name} has no test part here: the reference is one half of {taken} items, real data the other; "
        "model and classifier may have seen both"
    )
    first, second = (None, None) if labels is None else (labels[:half], labels[half:])
    return Reals(items[:half], first, items[half:], second, note)


def mixed(data: DataSet) -> tuple[Tensor, Tensor | None]:
    """Items and labels in an order that any stretch of is fair: their own, or, where it goes by class, a fixed shuffle.

    Of items on disk a part is taken that fits into memory.
    """
    is_sorted = data.is_image and (data.labels is None or bool((data.labels.diff() >= 0).all()))
    is_on_disk = data.prefetch is not None
    if not is_sorted and not is_on_disk:
        return data.items, data.labels
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).to(data.items.device)
    if is_on_disk:
        order = order[: max(2, MOST_REAL_BYTES // data.items[0].nbytes)]
    return data.items[order], None if data.labels is None else data.labels[order]


def _about(classifier: Classifier, reals: Reals, examination: DataSet | None) -> dict[str, Any]:
    items, labels = (reals.reference, reals.labels) if examination is None else (examination.items, examination.labels)
    on_reference = None if labels is None else classifier.accuracy_on(items, labels)
    return {
        "name": classifier.name,
        "data": classifier.data,
        "accuracy_held_out": classifier.accuracy if classifier.held_out else None,
        "held_out": classifier.held_out,
        "accuracy_reference": on_reference,
        "reference": len(items),
    }


def _stacked_rows(
    sampled: Sampled, reals: Reals, classifier: Classifier | None
) -> tuple[list[ScoreRow], dict[str, float], list[str]]:
    if classifier is None:
        return [], {}, ["no classifier of digits: the modes are not counted"]
    note = f"{classifier.name} names the digit of each channel; the measures of other images are left out for stacks"
    return stacked_rows(sampled.items, reals, classifier), {}, [note]


def _image_rows(
    sampled: Sampled, reals: Reals, classifier: Classifier | None
) -> tuple[list[ScoreRow], dict[str, float], list[str]]:
    if classifier is None:
        return [], {}, ["no labelled images of 8x8 or more for a classifier: KID, FID, classes and confidence are left out"]
    rows, histogram = classifier_rows(sampled, reals, classifier)
    is_compared = sampled.asked is None or any(row.measure.startswith("agreement") for row in rows)
    return (
        rows,
        histogram,
        [] if is_compared else [f"{classifier.name} knows other classes than the model: what was asked for is not compared"],
    )


def _pixel_rows(
    sampled: Sampled, fitted: Sampled, reals: Reals, data: DataSet, device: torch.device
) -> tuple[list[ScoreRow], list[str]]:
    values = sampled.items[0].numel()
    if values > PIXEL_VALUES:
        about = f"measures by pixels (parzen, 1nn-error, memorisation) are left out for images of {values:,} values"
        return [], [f"{about}; they serve up to {PIXEL_VALUES:,}"]
    rows = [parzen_row(sampled.items, reals, device), *memorisation_row(sampled.items, reals, device)]
    if sampled.card.classes == data.classes:
        rows += nearest_row(fitted, reals, device)
    return rows, []
