"""What a person asked for, and what ran because of it: the plan is kept in the run directory beside what came out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.data import DataSet
from training.errors import TrainingError
from training.files import write_json
from training.game.gates import GATES
from training.game.recipe import Recipe
from training.recipes import CATALOGUE

FILE = "recipe.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which recipe is played, on what, for how long."""

    recipe: str
    """A name of the catalogue."""
    data: str | None = None
    """Data set; None is the recipe's own."""
    size: int | None = None
    """Side of the images; None is the recipe's own."""
    steps: int | None = None
    """Training steps; None is the recipe's own number."""
    batch: int | None = None
    """Real samples a step; None is the recipe's own number."""
    gate: str | None = None
    """``always``, ``worse-only``, ``equilibrium`` or ``loss-ratio``; None is the recipe's own gate."""
    seed: int = 0
    """Of everything random."""

    def resolve(self) -> Recipe:
        """The recipe with this plan's choices in it.

        Raises:
            TrainingError: no such recipe or gate, a gate for other players, or a number below 1.
        """
        if self.recipe not in CATALOGUE:
            raise TrainingError(f"the recipe must be one of {', '.join(CATALOGUE)}, got {self.recipe!r}")
        if self.gate is not None and self.gate not in GATES:
            raise TrainingError(f"the gate must be one of {', '.join(GATES)}, got {self.gate!r}")
        players = [player.name for player in CATALOGUE[self.recipe].players]
        if self.gate not in (None, "always") and not {"D", "G"} <= set(players):
            raise TrainingError(f"the gate {self.gate} holds back D or G; {self.recipe} has {', '.join(players)}")
        for name in ("steps", "batch", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TrainingError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.seed < 2**32:
            raise TrainingError(f"the seed must be 0..{2**32 - 1}, got {self.seed}")
        chosen: dict[str, Any] = {name: getattr(self, name) for name in ("data", "size", "steps", "batch")}
        chosen["gate"] = None if self.gate is None else GATES[self.gate]
        return replace(CATALOGUE[self.recipe], **{name: value for name, value in chosen.items() if value is not None})


def write_plan(run: Path, plan: Plan, recipe: Recipe, data: DataSet, versions: Mapping[str, str]) -> None:
    """Write recipe.json: the plan, the recipe in words, the data and the versions."""
    about = {
        "plan": dataclasses.asdict(plan),
        "recipe": _in_words(recipe),
        "data": {"name": data.name, "samples": len(data), "shape": list(data.shape), "classes": list(data.classes)},
        "versions": dict(versions),
    }
    write_json(run / FILE, about)


def read_plan(run: Path) -> Plan:
    """The plan of a run directory.

    Raises:
        TrainingError: there is none, or it is not one.
    """
    path = run / FILE
    try:
        return Plan(**json.loads(path.read_text())["plan"])
    except FileNotFoundError:
        raise TrainingError(f"{run} is not a run directory: it has no {FILE}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is damaged: {error}") from None


def _in_words(value: Any) -> Any:
    """Plain JSON of a recipe: numbers as they are, parts with a name by that name, functions by theirs."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return [_in_words(part) for part in value]
    if "__str__" in vars(type(value)):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {f.name: _in_words(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value.__qualname__
