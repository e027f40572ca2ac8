"""The score of a model: every measure that suits its output, each beside its floor, what real data score at the same count."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contract import Points
from training.data import DataSet
from training.metrics.classifier import Classifier
from training.metrics.errors import ScoreError
from training.metrics.images import collapse_alarm
from training.metrics.rows import Reals, Row, judged_rows, parzen_row, point_rows
from training.metrics.sampled import Sampled, sample

PARZEN_VALUES = 1_024
"""Images of more values than this (32x32 grey) have no Parzen row: the measure means nothing there and takes minutes."""
ALARM_SAMPLES = 1_000


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All that was measured of one model file."""

    model: str
    """Its name, from the card."""
    digest: str
    """SHA-256 of the file."""
    data: str
    """The data set that it was measured against."""
    judge: Mapping[str, Any] | None
    """The classifier: its name, the data it learned from, how often it is right; None where none was used."""
    rows: tuple[Row, ...]
    histogram: Mapping[str, float] = field(default_factory=dict)
    """Class name to the share of samples that show it; empty without a judge."""
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


def score(model: Path, train: DataSet, test: DataSet | None, *, samples: int = 10_000, judge: Classifier | None = None,
          device: torch.device | str = "cpu") -> Scores:  # fmt: skip
    """Run a model file and measure what it gives.

    Args:
        model: an exported ONNX file with its card inside.
        train: what the model may have seen; the floor's stand-ins are taken from it.
        test: what it has not seen, the reference; None takes two disjoint halves of ``train`` for the two roles.
        samples: how many seeds, from 0.
        judge: a classifier of such images; None leaves out what needs one.
        device: where the Parzen windows are computed; the judge has its own.

    Raises:
        ScoreError: the file cannot be run, or the data are of another shape than its samples.
    """
    if samples < 2:
        raise ScoreError(f"samples must be at least 2, got {samples}")
    sampled = sample(model, samples)
    _check_shape(sampled, train)
    reals = _reals(train, test)
    notes = [reals.note] if reals.note else []
    if isinstance(sampled.card.output, Points):
        rows, histogram, judge = point_rows(sampled.items, reals, train), dict[str, float](), None
    else:
        rows, histogram, more = _image_rows(sampled, reals, judge, torch.device(device))
        notes += more
    asked = None if sampled.asked is None else sampled.asked[:ALARM_SAMPLES]
    alarm = collapse_alarm(sampled.items[:ALARM_SAMPLES], train, judge=judge, asked=asked)
    return Scores(
        model=sampled.card.name,
        digest=sampled.digest,
        data=train.name,
        judge=None if judge is None else _about(judge, reals),
        rows=tuple(rows),
        histogram=histogram,
        alarm=alarm,
        notes=tuple(notes),
    )


def _check_shape(sampled: Sampled, data: DataSet) -> None:
    made, real = tuple(sampled.items.shape[1:]), data.shape
    if made != real or sampled.items.dtype != data.items.dtype:
        raise ScoreError(f"{sampled.card.name} makes items of {list(made)}, {data.name} has {list(real)}; name other data")


def _reals(train: DataSet, test: DataSet | None) -> Reals:
    items, labels = _mixed(train)
    if test is not None:
        return Reals(test.items, test.labels, items)
    half = len(items) // 2
    note = (
        f"{train.name} has no test part here: the reference is one half of its {len(items):,} items, the floor the other; "
        "model and classifier may have seen both"
    )
    return Reals(items[:half], None if labels is None else labels[:half], items[half:], note)


def _mixed(data: DataSet) -> tuple[Tensor, Tensor | None]:
    """Items and labels in an order that any stretch of is fair: their own, or, where it goes by class, a fixed shuffle."""
    is_sorted = data.is_image and (data.labels is None or bool((data.labels.diff() >= 0).all()))
    if not is_sorted:
        return data.items, data.labels
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).to(data.items.device)
    return data.items[order], None if data.labels is None else data.labels[order]


def _about(judge: Classifier, reals: Reals) -> dict[str, Any]:
    on_reference = None if reals.labels is None else judge.accuracy_on(reals.reference, reals.labels)
    return {"name": judge.name, "data": judge.data, "accuracy_held_out": judge.accuracy, "held_out": judge.held_out,
            "accuracy_reference": on_reference, "reference": len(reals.reference)}  # fmt: skip


def _image_rows(sampled: Sampled, reals: Reals, judge: Classifier | None,
                device: torch.device) -> tuple[list[Row], dict[str, float], list[str]]:  # fmt: skip
    rows: list[Row] = []
    histogram: dict[str, float] = {}
    notes: list[str] = []
    if judge is None:
        notes.append("no labelled data for a classifier: KID, FID, classes and confidence are left out")
    else:
        rows, histogram = judged_rows(sampled, reals, judge)
        if sampled.asked is not None and sampled.card.classes != judge.classes:
            notes.append(f"{judge.name} knows other classes than the model: what was asked for is not compared")
    values = sampled.items[0].numel()
    if values <= PARZEN_VALUES:
        rows.append(parzen_row(sampled.items, reals, device))
    else:
        notes.append(f"Parzen windows are left out for images of {values:,} values; they serve up to {PARZEN_VALUES:,}")
    return rows, histogram, notes
