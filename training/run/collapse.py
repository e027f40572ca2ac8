"""Evaluation of a run's samples, ten times a run by default: a warning when they have collapsed, and their KID."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from training.data import DataSet
from training.metrics.classifier import Classifier, has_classifier
from training.metrics.images import describe_collapse, kid, real_spread
from training.report.meters import KID
from training.run.context import JobContext

SEEDS = range(1000)
"""Seeds of the samples that are evaluated."""
EARLY = 0.25
"""Share of a recipe's own number of steps before which a lack of variety is no collapse, unless there was variety before."""

CheckpointEvaluator = Callable[[Tensor, Tensor | None], tuple[str | None, dict[str, float]]]
"""From samples shaped as the data's items, and the class of each or None, to a warning or None, and scores by name."""


def make_evaluator(data: DataSet, context: JobContext) -> CheckpointEvaluator:
    """The evaluator for a data set: by a classifier where the images have labels, else by the spread of the samples alone."""
    return evaluator_by(context.classifier_of(data) if has_classifier(data) else None, data)


def evaluator_by(classifier: Classifier | None, data: DataSet) -> CheckpointEvaluator:
    """The evaluator by a classifier, with KID against as many real samples; without a classifier there is no KID.

    The spread of the real items is computed at the first evaluation that needs it, since a large set is read from the disk.
    """
    spread_of_real = cache(partial(real_spread, data))
    if classifier is None:
        return lambda samples, asked: (describe_collapse(samples, data, asked=asked, spread_of_real=spread_of_real), {})
    count = min(len(data), len(SEEDS))
    evenly = torch.arange(count) * len(data) // count  # of the whole set, since folders are sorted by class
    real = classifier.features_of(data.items[evenly.to(data.items.device)])

    def evaluate(samples: Tensor, asked: Tensor | None) -> tuple[str | None, dict[str, float]]:
        output = classifier.features_of(samples)
        sign = describe_collapse(samples, data, output=output, asked=asked, spread_of_real=spread_of_real)
        return sign, {KID: kid(real, output, subsets=1)[0]}

    return evaluate


def has_collapsed(sign: str | None, *, is_known: bool, progress: float) -> bool | None:
    """Whether a generator has collapsed; None while the lack of variety may only mean that training has just begun.

    A generator can lose only the variety that it had. So a sign of collapse counts once an evaluation of the run found no
    sign, or after a quarter of the recipe's own number of steps, by which a healthy generator has variety.

    Args:
        sign: description of the lack of variety; None if the samples vary.
        is_known: an earlier evaluation gave True or False.
        progress: step over the recipe's own number of steps, which may differ from the run's.
    """
    if sign is None or is_known or progress >= EARLY:
        return sign is not None
    return None
