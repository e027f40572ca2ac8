"""The look at a game's samples at each checkpoint: a sentence when they have lost their variety, and their KID."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from training.data import DataSet
from training.metrics.classifier import Classifier, classifier_for
from training.metrics.command import cache_folder
from training.metrics.images import describe_collapse, kid
from training.report.meters import KID
from training.run.context import JobContext

SEEDS = range(1000)
"""The seeds that are looked at."""

CheckpointEvaluator = Callable[[Tensor, Tensor | None], tuple[str | None, dict[str, float]]]
"""From samples shaped as the data's items, and the class asked of each or None, to a sentence or None, and scores by name."""


def make_evaluator(data: DataSet, setting: JobContext) -> CheckpointEvaluator:
    """The look at samples of a data set: by a classifier where there are labels, else at the spread of the samples alone."""
    judge = None
    if data.is_image and data.labels is not None and min(data.shape[1:]) >= 8:
        say = partial(setting.console.print, markup=False, highlight=False)
        judge = classifier_for(data, cache=cache_folder(setting.environ), device=setting.device, say=say)
    return evaluator_by(judge, data)


def evaluator_by(judge: Classifier | None, data: DataSet) -> CheckpointEvaluator:
    """The look with a classifier's eyes: KID is against as many real samples, each taken once; without one there is none."""
    if judge is None:
        return lambda samples, asked: (describe_collapse(samples, data, asked=asked), {})
    stride = max(1, len(data) // len(SEEDS))
    real = judge.see(data.items[::stride][: len(SEEDS)])

    def look(samples: Tensor, asked: Tensor | None) -> tuple[str | None, dict[str, float]]:
        seen = judge.see(samples)
        return describe_collapse(samples, data, seen=seen, asked=asked), {KID: kid(real, seen, subsets=1)[0]}

    return look
