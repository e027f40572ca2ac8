"""The collapse alarm: a sentence when the samples of a game have lost their variety."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from training.data import DataSet
from training.metrics.classifier import classifier_for
from training.metrics.command import cache_folder
from training.metrics.images import collapse_alarm
from training.setting import Setting

SEEDS = range(1000)
"""The seeds that are looked at."""

Alarm = Callable[[Tensor, Tensor | None], str | None]
"""From samples shaped as the data's items, and the class asked of each or None, to a sentence or None."""


def alarm_for(data: DataSet, setting: Setting) -> Alarm:
    """The alarm of a data set: by a classifier where there are labels, else by the spread of the samples."""
    judge = None
    if data.is_image and data.labels is not None and min(data.shape[1:]) >= 8:
        say = partial(setting.console.print, markup=False, highlight=False)
        judge = classifier_for(data, cache=cache_folder(setting.environ), device=setting.device, say=say)
    return lambda samples, asked: collapse_alarm(samples, data, judge=judge, asked=asked)
