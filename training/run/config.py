"""The configuration of a run, as asked for on the command line and as kept in the run directory."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from training.data import DataSet
from training.errors import TrainingError
from training.files import CONFIG, config_in, find_config, refuse_stream, write_json
from training.game.gates import GATES
from training.game.recipe import Recipe
from training.recipes import CATALOGUE

GAME = ("players", "schedule", "gate", "ema", "batch", "pixels", "conditions")
"""Fields of a recipe that make another game of the same nets."""
MOST_STEPS = 10**9 - 1
"""Steps of a run at most: names of checkpoints have nine digits."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Recipe, data and length of a run."""

    recipe: str
    """Name of a recipe in the catalogue."""
    data: str | None = None
    """Data set; None for the recipe's own."""
    size: int | None = None
    """Side of the images; None for the recipe's own."""
    steps: int | None = None
    """Training steps; None for the recipe's own number."""
    batch: int | None = None
    """Real samples per batch; None for the recipe's own number."""
    gate: str | None = None
    """``always``, ``worse-only``, ``equilibrium`` or ``loss-ratio``; None for the recipe's own gate."""
    seed: int = 0
    """Random seed."""
    precision: str = "float32"
    """``float32`` or ``bfloat16``; ``auto`` only until the run begins."""
    export: str | None = None
    """``best`` exports the evaluation with the lowest KID, ``last`` the last step; None as the recipe says."""

    def resolve(self) -> Recipe:
        """The recipe with the overrides of this configuration.

        Raises:
            TrainingError: the recipe or gate is unknown, the gate is for other players, or a number is out of range.
        """
        if self.recipe not in CATALOGUE:
            raise TrainingError(unknown_name("recipe", self.recipe, CATALOGUE, hint="`python -m training list` shows all"))
        if self.gate is not None and self.gate not in GATES:
            raise TrainingError(f"the gate must be one of {', '.join(GATES)}, got {self.gate!r}")
        players = [player.name for player in CATALOGUE[self.recipe].players]
        if self.gate not in (None, "always") and not {"D", "G"} <= set(players):
            raise TrainingError(f"the gate {self.gate} needs players D and G; {self.recipe} has {', '.join(players)}")
        if self.export not in (None, "best", "last"):
            raise TrainingError(f"export must be best or last, got {self.export!r}")
        for name in ("steps", "batch", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TrainingError(f"{name} must be at least 1, got {value}")
        if self.steps is not None and self.steps > MOST_STEPS:
            raise TrainingError(f"steps must be at most {MOST_STEPS:,}, got {self.steps:,}")
        if not 0 <= self.seed < 2**32:
            raise TrainingError(f"the seed must be 0..{2**32 - 1}, got {self.seed}")
        chosen: dict[str, Any] = {name: getattr(self, name) for name in ("data", "size", "steps", "batch", "export")}
        chosen["gate"] = None if self.gate is None else GATES[self.gate]
        return replace(CATALOGUE[self.recipe], **{name: value for name, value in chosen.items() if value is not None})


def differences(before: RunConfig, asked: RunConfig) -> list[str]:
    """In what a run differs from what is asked for, in words; steps and export may differ, and a default may be spelt out.

    Raises:
        TrainingError: one of the configurations is not possible.
    """
    if before.recipe != asked.recipe:
        return [f"recipe {before.recipe}, not {asked.recipe}"]
    old, new = before.resolve(), asked.resolve()
    values = [(name, getattr(old, name), getattr(new, name)) for name in ("data", "size", "batch", "gate")]
    values += [(name, getattr(before, name), getattr(asked, name)) for name in ("seed", "precision")]
    return [f"{name} {one}, not {other}" for name, one, other in values if one != other]


def unknown_name(kind: str, name: str, known: Iterable[str], *, hint: str) -> str:
    """A sentence that answers an unknown name with the nearest known ones."""
    nearest = difflib.get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
    guess = f"; did you mean {' or '.join(nearest)}?" if nearest else ";"
    return f"there is no {kind} {name!r}{guess} {hint}"


def write_config(
    run: Path,
    config: RunConfig,
    recipe: Recipe,
    data: DataSet,
    versions: Mapping[str, str],
    *,
    ranks: Mapping[str, int],
    together: Sequence[int] = (),
) -> None:
    """Write config.json: the configuration, the recipe in words, the data, versions, ranks, and the seeds played together."""
    together = together or (json.loads((run / CONFIG).read_text()).get("together", ()) if (run / CONFIG).exists() else ())
    content = {
        "config": dataclasses.asdict(config),
        "recipe": _in_words(recipe),
        "data": {"name": data.name, "samples": len(data), "shape": list(data.shape), "classes": list(data.classes)},
        "versions": dict(versions),
        "ranks": dict(ranks),
        **({"together": list(together)} if together else {}),
    }
    write_json(run / CONFIG, content)


def read_config(run: Path) -> RunConfig:
    """The configuration of a run directory.

    Raises:
        TrainingError: the directory has no configuration, a damaged one, another version's, or a pipe in its place.
    """
    path = find_config(run)
    if path is None:
        raise TrainingError(f"{run} is not a run directory: it has no {CONFIG}")
    refuse_stream(path)
    kinds = get_type_hints(RunConfig)
    try:
        given = config_in(path)
        if unknown := sorted(given.keys() - kinds.keys()) if isinstance(given, dict) else []:
            what = f"{', '.join(map(repr, unknown))}, which this version does not know"
            raise TrainingError(f"{path} has {what}: use the version that wrote it, or train anew")
        config = RunConfig(**given)
    except KeyError as error:
        raise TrainingError(f"{path} is damaged: it must have {error}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise TrainingError(f"{path} is damaged: {error}") from None
    for name, kind in kinds.items():
        if not isinstance(value := getattr(config, name), kind):
            right = kind.__name__ if isinstance(kind, type) else kind
            raise TrainingError(f"{path} is damaged: {name} must be {right}, got {value!r}")
    return config


def read_data(run: Path) -> dict[str, Any]:
    """Name, samples, shape and classes of the data of a run, as it began or went on last; empty where they are not kept."""
    kept = _kept(run, "data")
    return kept if isinstance(kept, dict) else {}


def changes_of_recipe(run: Path, recipe: Recipe) -> list[str]:
    """How a recipe differs from what it was when the run began or went on last, in words: an update of this program may have
    changed the recipe. Empty for a new run.
    """
    before, now = (_leaves("", value) for value in (_kept(run, "recipe"), _in_words(recipe)))
    named = [key for key in before if key.split(".")[0] in GAME and key in now]
    return [f"{key} was {before[key]} and is {now[key]}" for key in named if before[key] != now[key]]


def read_ranks(run: Path, *, before: int) -> dict[str, int]:
    """How many processes have trained a run, by the steps from which on they did, as far as these are below ``before``."""
    written = _kept(run, "ranks", {"0": 1}) if find_config(run) else {}
    try:
        return {step: int(ranks) for step, ranks in written.items() if int(step) < before}
    except (AttributeError, TypeError, ValueError):
        raise TrainingError(
            f"{find_config(run)} is damaged: ranks must give a number for each step, got {written!r}"[:300]
        ) from None


def _kept(run: Path, name: str, other: Any = None) -> Any:
    """One part of a run's config.json; ``other`` where it is not there."""
    path = find_config(run)
    return json.loads(path.read_text()).get(name, other) if path else other


def _leaves(name: str, value: Any) -> dict[str, Any]:
    """Each number and text in nested JSON by its path, as ``players.0.loss``."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {path: leaf for key, part in parts for path, leaf in _leaves(f"{name}.{key}".lstrip("."), part).items()}
    return {name: value}


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
