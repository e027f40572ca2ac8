"""How a row's figure is made of a run directory: what to run after training, and where to read the value."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from benchmarks.scoreboard.results import Measurement
from training.errors import ScoreError
from training.metrics.gmam import Comparison
from training.metrics.images import ALARM_EFFECTIVE_CLASSES
from training.recipes.energy import Kind
from training.report.journal import read_rows

SCORES, EXAMINATION, STAGES = "scores.json", "examination.json", "stages.json"
RUN = "RUN"
"""In a command, what stands for the run directory."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a row measures; this one measures nothing and says what others say."""

    stages: tuple[float, ...] = (1.0,)
    """Shares of the steps after each of which the commands run."""
    opponents: tuple[str, ...] = ()
    """Recipes whose runs of the same seed must be there, too."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Its kind and its fields, as JSON keeps them."""
        return {"kind": type(self).__name__, **json.loads(json.dumps(asdict(self)))}

    def commands(self, opponents: Mapping[str, Path]) -> list[list[str]]:
        """Arguments of ``python -m training`` after each stage, ``RUN`` for the run; opponents by recipe. None by default."""
        return []

    def read(self, run: Path) -> Measurement:
        """The figure of a finished run.

        Raises:
            ScoreError: what should hold it does not.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Scored(Measure):
    """A row of ``score``, by the beginning of its name: ``kid`` finds ``kid-lenet@3fa1c2``."""

    name: str
    samples: int = 10_000
    nearest: int | None = None
    variant: str | None = None
    """Of the recipe, in the place of its own model."""

    def commands(self, opponents: Mapping[str, Path]) -> list[list[str]]:
        """One: score; before it the export of a variant."""
        exported = [] if self.variant is None else [["export", RUN, "--variant", self.variant]]
        model = RUN if self.variant is None else f"{RUN}/model-{self.variant}.onnx"
        return [*exported, ["score", model, *options_of({"--samples": self.samples, "--nearest": self.nearest})]]

    def read(self, run: Path) -> Measurement:
        """The row of scores.json whose measure is the name, or the name and a classifier's."""
        path = run / (SCORES if self.variant is None else f"scores-{self.variant}.json")
        rows = read_json(path)["rows"]
        row = next((row for row in rows if row["measure"].split("-lenet@")[0] == self.name), None)
        if row is None:
            raise ScoreError(f"{path} has no measure {self.name!r}: {', '.join(row['measure'] for row in rows)}")
        return Measurement(**row, others={row["measure"]: row["value"] for row in rows})


@dataclass(frozen=True, kw_only=True)
class WhereFound(Scored):
    """A row of ``score`` where the samples' mean is within ``within`` of ``mean``, and no value elsewhere."""

    mean: float
    within: float

    def read(self, run: Path) -> Measurement:
        """As ``Scored``, from scores.json."""
        found = super().read(run)
        name = f"{self.name} where the mean is {self.mean:g} ± {self.within:g}"
        if abs(found.others["mean"] - self.mean) <= self.within:
            return replace(found, measure=name)
        return replace(found, measure=name, value=None, error=None)


@dataclass(frozen=True, kw_only=True)
class OfSamples(Measure):
    """A measure of what ``score`` of a run directory writes."""

    samples: int

    def commands(self, opponents: Mapping[str, Path]) -> list[list[str]]:
        """One: score."""
        return [["score", RUN, "--samples", str(self.samples)]]


@dataclass(frozen=True, kw_only=True)
class Examined(OfSamples):
    """A number of the recipe's own examination on the test samples."""

    name: str
    samples: int = 1_000

    def read(self, run: Path) -> Measurement:
        """The value of that name in examination.json."""
        content = read_json(run / EXAMINATION)
        if self.name not in content["values"]:
            raise ScoreError(f"{run / EXAMINATION} has no value {self.name!r}: {', '.join(content['values'])}")
        return Measurement(
            measure=self.name,
            value=content["values"][self.name],
            samples=content["samples"],
            by=f"test part of {content['data']}",
            classifier=content.get("classifier") if self.name.startswith("accuracy") else None,
            others=content["values"],
        )


@dataclass(frozen=True, kw_only=True)
class Collapsed(OfSamples):
    """Whether a run ended in collapse, 1 or 0: its samples show fewer classes than the alarm of training allows."""

    classes: int = 10
    """Of the data; a class counts by exp(entropy)."""
    samples: int = 2_000

    def read(self, run: Path) -> Measurement:
        """From the entropy of classes in scores.json."""
        entropy = Scored(name="entropy").read(run)
        least = ALARM_EFFECTIVE_CLASSES * self.classes
        return Measurement(
            measure="collapsed",
            value=float(math.exp(cast(float, entropy.value)) < least),
            samples=entropy.samples,
            by=f"fewer than {least:g} effective classes",
            classifier=classifier_in([entropy.measure]),
            others=entropy.others,
        )


@dataclass(frozen=True, kw_only=True)
class Logged(Measure):
    """A logged scalar in the last record of a run: its mean over the last ``log_every`` steps."""

    name: str

    def read(self, run: Path) -> Measurement:
        """The scalar in the last line of stats.jsonl."""
        rows = read_rows(run / "stats.jsonl")
        if not rows or rows[-1].get(self.name) is None:
            raise ScoreError(f"{run / 'stats.jsonl'} has no {self.name!r} in its last line")
        return Measurement(
            measure=self.name,
            value=rows[-1][self.name],
            by="mean of the last record",
            others={name: value for name, value in rows[-1].items() if value is not None},
        )


@dataclass(frozen=True, kw_only=True)
class Against(Measure):
    """The sum of GMAM over opponents trained with the same seed, as GMAN's table 1 sums its columns."""

    opponents: tuple[str, ...] = ()
    lambdas: Mapping[str, str] = field(default_factory=dict)
    """Recipe to the weight of its discriminators; as its game learned, or their mean, where it is not named."""
    own: str | None = None
    """The same of the row's own recipe."""
    samples: int = 10_000

    def commands(self, opponents: Mapping[str, Path]) -> list[list[str]]:
        """One for each opponent."""

        def how(recipe: str) -> list[str]:
            weights = {"--first-lambda": self.lambdas.get(recipe), "--second-lambda": self.own}
            return options_of({"--samples": self.samples, **weights})

        return [["gmam", str(path), RUN, *how(recipe)] for recipe, path in opponents.items()]

    def read(self, run: Path) -> Measurement:
        """The sum of what the comparisons wrote."""
        rows = [read_json(path) for path in sorted(run.glob("gmam-*.json"))]
        if len(rows) != len(self.opponents):
            raise ScoreError(f"{run} must hold {len(self.opponents)} comparisons, got {len(rows)}")
        agreed = sum(Comparison(row["by_first"], row["by_second"]).is_agreed for row in rows)
        return Measurement(
            measure=f"gmam, {agreed} of {len(rows)} agreed",
            value=sum(row["value"] for row in rows),
            real=0.0,
            samples=self.samples,
            by=f"sum against {', '.join(self.opponents)}",
            others={f"{row['by']}, {half}": row[half] for row in rows for half in ("by_first", "by_second")},
        )


@dataclass(frozen=True, kw_only=True)
class OverGrid(Measure):
    """The mean score of one kind of game over the points of EBGAN's grid that a seed draws."""

    kind: Kind

    def read(self, run: Path) -> Measurement:
        """From the lines of stats.jsonl, one a game."""
        games = [row for row in read_rows(run / "stats.jsonl") if row["kind"] == self.kind]
        classifier = games[-1].get("classifier") if games else None
        scores = {row["recipe"]: row["score"] for row in games if row.get("classifier") == classifier}
        if not scores:
            raise ScoreError(f"{run / 'stats.jsonl'} has no game of kind {self.kind!r}")
        return Measurement(
            measure="inception-prime",
            value=sum(scores.values()) / len(scores),
            by=f"mean of {len(scores)} points of the grid",
            classifier=classifier,
            others=scores,
        )


KID = Scored(name="kid")
FEW_KID = Scored(name="kid", samples=2_000)
"""The same from fewer samples, where a run is short."""
PARZEN = Scored(name="parzen")


def options_of(values: Mapping[str, object]) -> list[str]:
    """Options of a command line with their values; without those that are None."""
    return [word for name, value in values.items() if value is not None for word in (name, str(value))]


def classifier_in(names: Iterable[str]) -> str | None:
    """The classifier that the first of these names of measures has at its end; None where none has one."""
    return next((f"lenet@{name.split('-lenet@')[1]}" for name in names if "-lenet@" in name), None)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ScoreError: it cannot be read.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ScoreError(f"{path} cannot be read: {error}") from None
