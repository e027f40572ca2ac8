"""Whether a logged scalar follows quality: its rank correlation with a measure over a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import scipy

from training.errors import ScoreError


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation of two series, -1..1; ties share their mean rank.

    WGAN's claim (arXiv:1701.07875, section 4.2) is that the critic's estimate and the samples' quality move together.

    Raises:
        ScoreError: the lengths differ, are below 3, a value is not finite, or a series is constant.
    """
    if len(first) != len(second) or len(first) < 3:
        raise ScoreError(f"two series of one length of at least 3 are needed, got {len(first)} and {len(second)} values")
    if not all(map(math.isfinite, (*first, *second))):
        raise ScoreError("a value of a series is not finite: it has no rank")
    if len(set(first)) == 1 or len(set(second)) == 1:
        raise ScoreError("a series that never changes has no ranks")
    return float(scipy.stats.spearmanr(first, second).statistic)
