"""The run directory of a training job: one process at a time, one configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from training.data import DataSet
from training.errors import TrainingError
from training.files import CONFIG, MODEL, OLD_CONFIG, find_config, locked, refuse_stream
from training.game.recipe import Recipe
from training.report.events import FILE_NAME as EVENTS
from training.report.recorder import STATS, TIMINGS
from training.run import checkpoint
from training.run.config import RunConfig, changes_of_recipe, differences, read_config, read_data

EXAMINATION = "examination.json"
OF_THE_NETS = (
    *("checkpoint-*.pt", checkpoint.BEST, MODEL, "model-*.onnx", "traversal-*.png"),
    *(EXAMINATION, "scores*.json", "reconstruction.json", "gmam-*.json", "completed-*/completion.json"),
    *(STATS, EVENTS),
    *(OLD_CONFIG, CONFIG),
)
"""What a run directory holds of its nets and of what was measured of them, and the records by which it counts as a run's.

The recorder removes the rest of what it wrote."""


@contextmanager
def opened(run: Path) -> Iterator[Callable[[], None]]:
    """Make the run directory and hold its lock; a job that ends before its run has begun leaves nothing of them.

    Yields a function that raises TrainingError once the directory at that place is another one.

    Raises:
        TrainingError: another process is at work there, it is a file, or a file of the run is a pipe.
    """
    if run.exists() and not run.is_dir():
        raise TrainingError(f"--out must name a folder, and {run} is a file")
    with locked(run, is_kept=lambda: find_config(run) is not None) as is_ours:
        _refuse_pipes(run)

        def check() -> None:
            if not is_ours():
                raise TrainingError(f"{run} was moved, replaced or deleted, or its lock was, while this job was at work there")

        yield check


def _refuse_pipes(run: Path) -> None:
    """Refuse a pipe where the run has a file: a job that opens it would wait without end.

    Raises:
        TrainingError: naming the pipe.
    """
    for pattern in (*OF_THE_NETS, TIMINGS):
        for path in run.glob(pattern):
            refuse_stream(path)


def refuse_other_config(config: RunConfig, run: Path) -> None:
    """Refuse a run of another configuration, of which only steps and export may change, and files of another program.

    Raises:
        TrainingError: it holds a run of another configuration, or a model or records of no run.
    """
    foreign = [] if find_config(run) else [name for name in (MODEL, STATS, EVENTS) if (run / name).exists()]
    if foreign:
        raise TrainingError(f"{run / foreign[0]} is of no run: use another --out, or --fresh to replace it")
    if find_config(run) and (others := differences(read_config(run), config)):
        raise TrainingError(f"{run} holds another run ({'; '.join(others)}); use another --out, or --fresh to replace it")


def refuse_run_in_data(run: Path, data: str) -> None:
    """Refuse a run directory in the folder of its own data, where its sample grids would count as pictures to train on.

    A folder whose name begins with a dot is no part of the data.

    Raises:
        TrainingError: naming both.
    """
    kind, _, path = data.partition(":")
    if kind != "folder" or not path:
        return
    folder, own = Path(os.path.realpath(Path(path).expanduser())), Path(os.path.realpath(run))
    if own.is_relative_to(folder) and not any(part.startswith(".") for part in own.relative_to(folder).parts):
        raise TrainingError(f"the run directory {run} lies in the data folder {path}: use --out with a place outside of it")


def compare_data(run: Path, data: DataSet, say: Callable[[str], None]) -> None:
    """Compare the data with those that a run was trained on so far: another number of samples is said, other kinds are refused.

    Raises:
        TrainingError: the samples have another shape, or other classes.
    """
    known = read_data(run)
    for what, now in (("shape", list(data.shape)), ("classes", list(data.classes))):
        if (before := known.get(what, now)) != now:
            raise TrainingError(f"{run} was trained on data of the {what} {before}, and {data.name} has the {what} {now} now")
    if (before := known.get("samples", len(data))) != len(data):
        if not isinstance(before, int):
            raise TrainingError(f"{run / CONFIG} is damaged: samples must be a number, got {before!r}"[:300])
        say(f"{data.name} has {len(data):,} samples now; the steps before were trained on {before:,}")


def compare_recipe(run: Path, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Say how the recipe has changed since the run was trained last, as by an update of this program."""
    if changes := changes_of_recipe(run, recipe):
        say(f"the recipe {recipe.name} has changed since this run was trained: {'; '.join(changes)}")


def forget(run: Path) -> None:
    """Delete a run; its configuration last, so that after a kill no other run goes on from one of its checkpoints."""
    for pattern in OF_THE_NETS:
        for path in run.glob(pattern):
            path.unlink()
