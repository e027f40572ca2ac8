"""The models of a worker that starts: the files at their paths or, where these are refused or gone, the last good ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from serving.engine.kept_files import GoodFile
from serving.errors import ModelError, StartError
from serving.model.load import ModelFacts

T = TypeVar("T", bound=ModelFacts)


@dataclass(frozen=True, kw_only=True)
class Started(Generic[T]):
    """What a worker has loaded."""

    models: dict[Path, T] = field(default_factory=dict)
    """Models by the path of their file."""
    refused: dict[Path, StartError] = field(default_factory=dict)
    """Why the file at a path was refused; its last good file is in ``models`` if there is one."""


def load_models(
    files: Sequence[Path],
    load: Callable[[Path], T],
    *,
    good: Mapping[Path, GoodFile] | None = None,
    load_good: Callable[[Path], T] | None = None,
) -> Started[T]:
    """Load model files in order; where a worker has served before, a refused file takes nothing out of service.

    Args:
        files: the files.
        load: loads and checks one.
        good: files that workers have served, by their paths, in the order of the models; empty at the first start.
        load_good: loads one of ``good``; by default ``load``.

    Raises:
        StartError: a file is refused, or two hold models of one name, and no worker has served before, or no model is left.
    """
    good, found = good or {}, Started[T]()
    for path in files:
        try:
            found.models[path] = _unless_taken(path, load(path), found.models)
        except StartError as error:
            if not good:
                raise
            found.refused[path] = error
    for path in good:
        if path not in found.models:
            try:
                model = (load_good or load)(good[path].address)
                if model.digest == good[path].digest:  # else the file was overwritten in place
                    found.models[path] = _unless_taken(path, model, found.models)
            except StartError:  # the refusal of the file at the path says more
                pass
    if not found.models:
        raise next(iter(found.refused.values()), ModelError("the files of all models are gone"))
    order = {path: place for place, path in enumerate(good)}
    return Started(
        models=dict(sorted(found.models.items(), key=lambda item: order.get(item[0], len(order)))), refused=found.refused
    )


def _unless_taken(path: Path, model: T, models: Mapping[Path, T]) -> T:
    if any(model.card.name == other.card.name for other in models.values()):
        raise ModelError(f"{path}: another model has the name {model.card.name!r}")
    return model
