"""The models of a worker that starts: those of the files or, after a restart, those that the worker before it served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from serving.engine.kept_files import KeptFiles, ServedFile, close, open_file
from serving.engine.stamps import Stamp, file_stamp_of, stamp
from serving.errors import ModelError, StartError
from serving.model.load import ModelFacts

T = TypeVar("T", bound=ModelFacts)


@dataclass(frozen=True, kw_only=True)
class Started(Generic[T]):
    """What a worker has loaded."""

    models: dict[Path, T] = field(default_factory=dict)
    """Models by the path of their file, in the order in which they are served."""
    stamps: dict[Path, Stamp | None] = field(default_factory=dict)
    """Stamps of the files at these paths if they are those of the models; another file there is still to be loaded."""
    kept: KeptFiles = field(default_factory=KeptFiles)
    """The files of the models."""


def load_models(files: Sequence[Path], load: Callable[..., T]) -> Started[T]:
    """Load model files, in order.

    Args:
        files: the files.
        load: loads and checks a file.

    Raises:
        StartError: a file is refused, or two hold models of one name.
    """
    started = Started[T]()
    for path in files:
        _put(started, path, *_load(path, load))
    return _in_service(started)


def load_again(table: Sequence[ServedFile], load: Callable[..., T]) -> Started[T]:
    """Load the models that were served before a restart, also where other files are at their paths by now.

    Args:
        table: the models in their order; their descriptors are taken over.
        load: loads and checks a file; with a ``digest`` it accepts no other bytes, and needs no signature.

    Raises:
        StartError: a file was overwritten in place, or is not held, and the one at its path is refused.
    """
    started = Started[T]()
    for served in table:
        started.kept.hold(served.path, served.descriptor)
    for served in table:
        path, address, current = served.path, started.kept.address(served.path), stamp(served.path)
        try:
            if address is None:
                raise ModelError(f"{path}: its file is not held")
            model = load(address, digest=served.digest)
        except StartError:
            _put(started, path, *_load(path, load))
        else:
            is_there = current is not None and current[0] == file_stamp_of(address.stat())
            _put(started, path, model, current if is_there else None, started.kept.descriptor(path))
    return _in_service(started)


def _in_service(started: Started[T]) -> Started[T]:
    """Store the serials of the models, none of which is refused."""
    for path, model in started.models.items():
        model.enter_service(path)
    return started


def _load(path: Path, load: Callable[..., T]) -> tuple[T, Stamp | None, int | None]:
    """The model of a file, and the file's stamp and a descriptor, taken before it was loaded."""
    current, descriptor = stamp(path), open_file(path)
    try:
        return load(path), current, descriptor
    except BaseException:
        close(descriptor)
        raise


def _put(started: Started[T], path: Path, model: T, current: Stamp | None, descriptor: int | None) -> None:
    if any(model.card.name == other.card.name for other in started.models.values()):
        raise ModelError(f"{path}: another model has the name {model.card.name!r}")
    started.models[path], started.stamps[path] = model, current
    if descriptor != started.kept.descriptor(path):
        started.kept.hold(path, descriptor)
