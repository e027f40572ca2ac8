"""Measures of a course of training, taken after several stages of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scoreboard.measures import STAGES, OfSamples, classifier_in, read_json
from benchmarks.scoreboard.results import Measurement
from training.errors import ScoreError
from training.metrics.rank import rank_correlation
from training.report.journal import read_rows

CURVE = (0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
"""Shares of a run after which a curve is measured: densely where it bends."""


@dataclass(frozen=True, kw_only=True)
class RankCorrelation(OfSamples):
    """Spearman's correlation of a logged scalar with KID over a run that is measured in stages.

    For recipes whose settings do not depend on how many steps there will be, since each stage is played as if it were the last.
    """

    scalar: str
    sign: int = 1
    samples: int = 10_000
    stages: tuple[float, ...] = CURVE

    def read(self, run: Path) -> Measurement:
        """From stages.json, the KID after each stage; from stats.jsonl, the scalar's mean over the stage's later half."""
        stages = read_json(run / STAGES)["stages"]
        logged = read_rows(run / "stats.jsonl")
        kids, means, before = [], [], 0
        for stage in stages:
            later = (before + stage["step"]) / 2
            ours = [row for row in logged if later < row["step"] <= stage["step"]]
            found = [row[self.scalar] for row in ours if row.get(self.scalar) is not None]
            if not found:
                raise ScoreError(f"{run / 'stats.jsonl'} has no {self.scalar!r} between steps {later:g} and {stage['step']}")
            means.append(self.sign * sum(found) / len(found))
            kids.append(_kid(stage["values"]))
            before = stage["step"]
        return Measurement(
            measure=f"spearman({'-' if self.sign < 0 else ''}{self.scalar}, kid)",
            value=rank_correlation(means, kids),
            samples=self.samples,
            by=f"over {len(kids)} stages of one run",
            classifier=classifier_in(stages[-1]["values"]),
        )


@dataclass(frozen=True, kw_only=True)
class StepsTo(OfSamples):
    """Steps until KID is at most ``kid``, between two stages in proportion; twice the run's steps where it never is.

    For recipes whose settings do not depend on how many steps there will be, as ``RankCorrelation``.
    """

    kid: float
    samples: int = 2_000
    stages: tuple[float, ...] = CURVE

    def read(self, run: Path) -> Measurement:
        """From stages.json."""
        measured = read_json(run / STAGES)["stages"]
        stages = [(int(stage["step"]), _kid(stage["values"])) for stage in measured]
        value, before = 2.0 * stages[-1][0], (0, math.inf)
        for step, kid in stages:
            if kid <= self.kid:
                share = (before[1] - self.kid) / (before[1] - kid) if math.isfinite(before[1]) else 1.0
                value = before[0] + share * (step - before[0])
                break
            before = (step, kid)
        return Measurement(
            measure=f"steps to a KID of {self.kid:g}",
            value=value,
            samples=self.samples,
            by=f"{len(stages)} stages of one run",
            classifier=classifier_in(measured[-1]["values"]),
            others={f"kid at step {step}": kid for step, kid in stages},
        )


def _kid(values: Mapping[str, float]) -> float:
    return next(value for name, value in values.items() if name.startswith("kid"))
