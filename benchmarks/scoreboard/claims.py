"""What a row claims, the bar that decides it, and the verdict; all are written down before a run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Verdict = Literal["shown", "inside the spread", "not shown", "not run"]
VERDICTS: tuple[Verdict, ...] = ("shown", "inside the spread", "not shown", "not run")
Statistic = Literal["median", "mean", "best", "worst"]
Values = Sequence[float]
"""Of the seeds of a row; NaN of a seed that diverged, which every bar takes for the worst value there can be."""
LEAST_COUNTED = 0.25
"""Share of the seeds that must have a value."""
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

    def chance(self, values: Values, of: Callable[[str], Values]) -> float:
        """How often chance alone would order the seeds so, or more in favour of the claim: one-sided Mann-Whitney U test.

        It is the exact distribution, in which a tie counts half for either side, rounded against the claim.
        """
        from scipy import stats  # its import takes half a second: only for who compares

        theirs, alternative = self._compared(of(self.row))
        ours, others = (worst_for_nan(seeds, is_higher_better=alternative == "greater") for seeds in (values, theirs))
        return float(stats.mannwhitneyu(ours, others, alternative=alternative, method="exact").pvalue)

    def _compared(self, theirs: Values) -> tuple[Values, Literal["less", "greater"]]:
        """What the seeds are compared with, and which of the two they should be."""
        raise NotImplementedError


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
        """Both ends count; a seed that diverged is too low and too high."""
        medians = [summarise(values, "median", is_higher_better=is_higher_better) for is_higher_better in (False, True)]
        return all(self.low <= median <= self.high for median in medians)

    def __str__(self) -> str:
        return f"median within {self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class NotBelow(AgainstRow):
    """The median of the seeds is at most ``slack`` below that of another row."""

    slack: float

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Higher values are better."""
        ours, theirs = (summarise(v, "median", is_higher_better=True) for v in (values, of(self.row)))
        return ours >= theirs - self.slack

    def _compared(self, theirs: Values) -> tuple[Values, Literal["less", "greater"]]:
        return [value - self.slack for value in theirs], "greater"

    def __str__(self) -> str:
        return f"median ≥ that of {self.row} - {self.slack:g}"


@dataclass(frozen=True)
class Below(AgainstRow):
    """A statistic of the seeds is below a share of that of another row, less a margin, and no greater than a number."""

    share: float = 1.0
    margin: float = 0.0
    statistic: Statistic = "median"
    at_most: float = math.inf
    """Where both games may fail: that the other one fails worse shows nothing."""

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Lower values are better."""
        ours, theirs = (summarise(v, self.statistic, is_higher_better=False) for v in (values, of(self.row)))
        return ours < self.share * theirs - self.margin and ours <= self.at_most

    def _compared(self, theirs: Values) -> tuple[Values, Literal["less", "greater"]]:
        return [self.share * value - self.margin for value in theirs], "less"

    def __str__(self) -> str:
        share, margin = "" if self.share == 1 else f"{self.share:g} × ", f" - {self.margin:g}" if self.margin else ""
        most = "" if self.at_most == math.inf else f" and ≤ {self.at_most:g}"
        return f"{self.statistic} < {share}that of {self.row}{margin}{most}"


@dataclass(frozen=True)
class Above(AgainstRow):
    """A statistic of the seeds is above that of another row."""

    statistic: Statistic = "mean"

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """Higher values are better."""
        ours, theirs = (summarise(v, self.statistic, is_higher_better=True) for v in (values, of(self.row)))
        return ours > theirs

    def _compared(self, theirs: Values) -> tuple[Values, Literal["less", "greater"]]:
        return theirs, "greater"

    def __str__(self) -> str:
        return f"{self.statistic} > that of {self.row}"


@dataclass(frozen=True)
class Spread(Bar):
    """A published figure lies within the prediction interval of the seeds: mean ± t s sqrt(1 + 1/n), 95 %."""

    verdict: ClassVar[Verdict] = "inside the spread"
    figure: float

    def holds(self, values: Values, of: Callable[[str], Values]) -> bool:
        """One more seed of ours would be as far away at least once in twenty times.

        One value alone has no interval, nor have seeds of which one diverged.
        """
        n = len(values)
        if n < 2 or not all(map(math.isfinite, values)):
            return False
        from scipy import special  # its import takes time: only for who compares

        t = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2))
        return abs(self.figure - statistics.fmean(values)) <= t * statistics.stdev(values) * math.sqrt(1 + 1 / n)

    def __str__(self) -> str:
        return f"{self.figure:g} within the 95 % prediction interval of the seeds"


def summarise(values: Values, statistic: Statistic, *, is_higher_better: bool) -> float:
    """One number of the seeds' values; infinite where too many of them diverged."""
    values = worst_for_nan(values, is_higher_better=is_higher_better)
    match statistic:
        case "median":
            return statistics.median(values)
        case "mean":
            return statistics.fmean(values)
        case "best":
            return max(values) if is_higher_better else min(values)
        case "worst":
            return min(values) if is_higher_better else max(values)


def worst_for_nan(values: Values, *, is_higher_better: bool) -> list[float]:
    """The values, with an infinite one in the place of each NaN."""
    worst = -math.inf if is_higher_better else math.inf
    return [worst if math.isnan(value) else value for value in values]


def decide(claim: Claim, seeds: int, values: Values, of: Callable[[str], Values]) -> Verdict:
    """The verdict on a row.

    Args:
        claim: what is claimed.
        seeds: number of seeds that were run, or 0 if some that the row asks for are missing.
        values: those of the seeds that have one, NaN if it diverged; of fewer than a quarter of them nothing is said.
        of: the values of another row, none where it was not run in full number.
    """
    if not seeds or not all(of(row) for row in claim.bar.rows):
        return "not run"
    return claim.bar.verdict if len(values) >= LEAST_COUNTED * seeds and claim.bar.holds(values, of) else "not shown"


def chance(claim: Claim, values: Values, of: Callable[[str], Values]) -> float | None:
    """How often chance alone would speak for the claim as much; None without another row, or where one has no values."""
    if not isinstance(claim.bar, AgainstRow) or not values or not of(claim.bar.row):
        return None
    return claim.bar.chance(values, of)
