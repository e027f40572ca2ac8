"""The look at a game's samples at each checkpoint: a sentence when they have lost their variety, and their KID."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from training.data import DataSet
from training.metrics.classifier import Classifier, classifier_for
from training.metrics.command import cache_folder
from training.metrics.images import collapse_alarm, kid
from training.report.meters import KID
from training.setting import Setting

SEEDS = range(1000)
"""The seeds that are looked at."""

Look = Callable[[Tensor, Tensor | None], tuple[str | None, dict[str, float]]]
"""From samples shaped as the data's items, and the class asked of each or None, to a sentence or None, and scores by name."""


def look_for(data: DataSet, setting: Setting) -> Look:
    """The look at samples of a data set: by a classifier where there are labels, else at the spread of the samples alone."""
    judge = None
    if data.is_image and data.labels is not None and min(data.shape[1:]) >= 8:
        say = partial(setting.console.print, markup=False, highlight=False)
        judge = classifier_for(data, cache=cache_folder(setting.environ), device=setting.device, say=say)
    score = score_for(data, judge)
    return lambda samples, asked: (collapse_alarm(samples, data, judge=judge, asked=asked), score(samples))


def score_for(data: DataSet, judge: Classifier | None) -> Callable[[Tensor], dict[str, float]]:
    """From samples to their KID against as many real ones, each taken once, by what the judge sees; nothing without a judge."""
    if judge is None:
        return lambda samples: {}
    stride = max(1, len(data) // len(SEEDS))
    real = judge.see(data.items[::stride][: len(SEEDS)])
    return lambda samples: {KID: kid(real, judge.see(samples), subsets=1)[0]}
