"""Stored results: one JSON file a row and scale, one entry a seed, each with the machine, the command and the commit."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.errors import TrainingError
from training.files import write_json

Scale = Literal["full", "scaled"]
RESULTS = "scoreboard"
"""The folder of results next to the page."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run's figure."""

    measure: str
    """By its full name, such as ``kid-lenet@d90d5b``."""
    value: float | None
    """None where the row's question does not arise, as of the spread of samples that missed the data."""
    error: float | None = None
    """Standard error within the run."""
    real: float | None = None
    """What real data scores in place of the samples."""
    real_error: float | None = None
    samples: int | None = None
    by: str = ""
    """How it was taken, in a few words."""
    classifier: str | None = None
    """The classifier that it was taken by, as ``lenet@d90d5b``, where the measure's name has none; None where none is known."""
    others: Mapping[str, float] = field(default_factory=dict)
    """What else was measured of the same run."""


@dataclass(frozen=True, kw_only=True)
class Result(Measurement):
    """One seed's figure and how it came about."""

    seed: int
    steps: int
    seconds: float | None
    """Of training; None where it was not recorded."""
    machine: str
    command: str
    """From training to the figure."""
    commit: str
    """At which the training began."""
    parameters: Mapping[str, Any] | None = None
    """Kind and parameters of the measure, of which the command does not say all; None in results of before they were stored."""
    has_diverged: bool = False
    """Whether a loss became infinite or NaN, so that there is nothing to measure; a bar takes such a seed for the worst."""


def path_of(folder: Path, row: str, scale: Scale) -> Path:
    """Where a row's results are kept."""
    return folder / (f"{row}.json" if scale == "full" else f"{row}.scaled.json")


def load_results(folder: Path, row: str, scale: Scale) -> list[Result]:
    """The results of a row, by seed; none where it was never run.

    Raises:
        TrainingError: the file is not one of results.
    """
    path = path_of(folder, row, scale)
    try:
        content = json.loads(path.read_text())
        results = [Result(**result) for result in content["results"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is no file of results: {error}") from None
    return sorted(results, key=lambda result: result.seed)


def store_result(folder: Path, row: str, scale: Scale, result: Result) -> None:
    """Add one seed's result, in place of an earlier one of that seed.

    Raises:
        TrainingError: its value is not finite; a verdict would depend on the order of the seeds.
    """
    if result.value is not None and not math.isfinite(result.value):
        raise TrainingError(f"{row}, seed {result.seed}: {result.measure} is {result.value}")
    kept = [old for old in load_results(folder, row, scale) if old.seed != result.seed]
    results = sorted([*kept, result], key=lambda result: result.seed)
    content: dict[str, Any] = {"row": row, "scale": scale, "results": [_json_of(r) for r in results]}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path_of(folder, row, scale), content)


def _json_of(result: Result) -> dict[str, Any]:
    """As JSON; what a result of before does not have is left out."""
    values = dataclasses.asdict(result)
    unsaid = {"classifier": None, "parameters": None, "has_diverged": False}
    return {name: value for name, value in values.items() if name not in unsaid or value != unsaid[name]}


def values_of(results: Sequence[Result]) -> list[float]:
    """The values of the seeds that have one."""
    return [result.value for result in results if result.value is not None]


def judged(results: Sequence[Result]) -> list[float]:
    """What a bar is asked about: the values of the seeds that have one, and NaN for each seed that diverged."""
    values = (math.nan if result.has_diverged else result.value for result in results)
    return [value for value in values if value is not None]


def mean_and_spread(values: list[float]) -> tuple[float, float | None]:
    """Mean and standard deviation over seeds; no deviation of one."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
