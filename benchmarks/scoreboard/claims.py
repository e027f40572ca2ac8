"""What a row claims, the bar that decides it, and the verdict; all are written down before a run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from scipy import stats

Verdict = Literal["shown", "inside the spread", "not shown", "not run"]
VERDICTS: tuple[Verdict, ...] = ("shown", "inside the spread", "not shown", "not run")
Statistic = Literal["median", "mean", "best", "worst"]
Values = Sequence[float]
CONFIDENCE = 0.95
"""Of a prediction interval."""


class Bar:
    """Decides a claim from the values of a row's seeds."""

    verdict: ClassVar[Verdict] = "shown"
    """The verdict if it holds."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of other rows whose values it needs."""
        return ()

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Whether it holds; ``of`` gives the values of another row."""
        raise NotImplementedError


@dataclass(frozen=True)
class AgainstRow(Bar):
    """Compares with the values of another row."""

    row: str

    @property
    def rows(self) -> tuple[str, ...]:
        return (self.row,)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of a paper, in kind, that a row is to show."""

    system: str
    """Name of the system, by which shown systems are counted."""
    text: str
    """The claim in a few words."""
    bar: Bar
    """What decides it."""


@dataclass(frozen=True)
class AtLeast(Bar):
    """A statistic of the seeds is at least a number."""

    value: float
    statistic: Statistic = "median"

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Higher values are better."""
        return summarise(values, self.statistic, is_higher_better=True) >= self.value

    def __str__(self) -> str:
        return f"{self.statistic} ≥ {self.value:g}"


@dataclass(frozen=True)
class AtMost(Bar):
    """A statistic of the seeds is at most a number."""

    value: float
    statistic: Statistic = "median"

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Lower values are better."""
        return summarise(values, self.statistic, is_higher_better=False) <= self.value

    def __str__(self) -> str:
        return f"{self.statistic} ≤ {self.value:g}"


@dataclass(frozen=True)
class Between(Bar):
    """The median of the seeds lies within a range."""

    low: float
    high: float

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Both ends count."""
        return self.low <= statistics.median(values) <= self.high

    def __str__(self) -> str:
        return f"median within {self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class NotBelow(AgainstRow):
    """The median of the seeds is at most ``slack`` below that of another row."""

    slack: float

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Higher values are better."""
        return statistics.median(values) >= statistics.median(of(self.row)) - self.slack

    def __str__(self) -> str:
        return f"median ≥ that of {self.row} - {self.slack:g}"


@dataclass(frozen=True)
class Below(AgainstRow):
    """A statistic of the seeds is below a share of the same statistic of another row, less a margin."""

    share: float = 1.0
    margin: float = 0.0
    statistic: Statistic = "median"

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Lower values are better."""
        ours, theirs = (summarise(v, self.statistic, is_higher_better=False) for v in (values, of(self.row)))
        return ours < self.share * theirs - self.margin

    def __str__(self) -> str:
        share, margin = "" if self.share == 1 else f"{self.share:g} × ", f" - {self.margin:g}" if self.margin else ""
        return f"{self.statistic} < {share}that of {self.row}{margin}"


@dataclass(frozen=True)
class Above(AgainstRow):
    """A statistic of the seeds is above that of another row."""

    statistic: Statistic = "mean"

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Higher values are better."""
        ours, theirs = (summarise(v, self.statistic, is_higher_better=True) for v in (values, of(self.row)))
        return ours > theirs

    def __str__(self) -> str:
        return f"{self.statistic} > that of {self.row}"


@dataclass(frozen=True)
class Spread(Bar):
    """A published figure lies within the prediction interval of the seeds: mean ± t s sqrt(1 + 1/n), 95 %."""

    verdict: ClassVar[Verdict] = "inside the spread"
    figure: float

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """One more seed of ours would be as far away at least once in twenty times; one value alone has no interval."""
        n = len(values)
        if n < 2:
            return False
        t = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
        return abs(self.figure - statistics.fmean(values)) <= t * statistics.stdev(values) * math.sqrt(1 + 1 / n)

    def __str__(self) -> str:
        return f"{self.figure:g} within the 95 % prediction interval of the seeds"


def summarise(values: Values, statistic: Statistic, *, is_higher_better: bool) -> float:
    """One number of the seeds' values."""
    match statistic:
        case "median":
            return statistics.median(values)
        case "mean":
            return statistics.fmean(values)
        case "best":
            return max(values) if is_higher_better else min(values)
        case "worst":
            return min(values) if is_higher_better else max(values)


def decide(claim: Claim, is_complete: bool, values: Values, of: Callable[[str], Values]) -> Verdict:
    """The verdict on a row.

    Args:
        claim: what is claimed.
        is_complete: whether all seeds that the row asks for were run.
        values: those of the seeds that have one.
        of: the values of another row, none where it was not run in full number.
    """
    if not is_complete or not all(of(row) for row in claim.bar.rows):
        return "not run"
    return claim.bar.verdict if values and claim.bar.holds(values, of) else "not shown"
