"""Several seeds of one recipe trained together in one process, each with a run directory of its own."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from training.data import DataSet
from training.errors import NonFinite, TrainingError
from training.export.shared_trace import SharedTrace
from training.game.loop import Game, play
from training.game.stacked import StackedGame, check_together
from training.report import Progress
from training.run.collapse import make_evaluator
from training.run.config import RunConfig
from training.run.context import JobContext
from training.run.directory import opened
from training.run.job import enter, export_game, look, repeatable
from training.run.keeping import Keeper
from training.threads import BusyCores

GRIDS = 1
"""Sample grids of each run, that of the last step: forty of each of forty runs take longer than the training."""
MOST = 1000
"""Seeds at most."""


@dataclass(frozen=True)
class _Run:
    seed: int
    game: Game
    context: JobContext
    keeper: Keeper


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from ``0-39``, ``3,5,7`` or ``0-3,8``, in order.

    Raises:
        TrainingError: it is something else, names a seed twice, or more than 1,000.
    """
    parts = [re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part, re.ASCII) for part in text.split(",")]
    bounds = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
    count = sum(last - first + 1 for first, last in bounds)
    if len(bounds) < len(parts) or any(first > last for first, last in bounds) or count > MOST:
        raise TrainingError(f"--seeds must be like 0-39 or 3,5,7, with {MOST:,} seeds at most, got {text!r}")
    seeds = tuple(seed for first, last in bounds for seed in range(first, last + 1))
    if len(set(seeds)) < count:
        raise TrainingError(f"--seeds must name each seed once, got {text!r}")
    return seeds


def run_of(run: Path, seed: int) -> Path:
    """The run directory of a seed: that of the command, ``-seed`` and the seed.

    Raises:
        TrainingError: the directory of the command has no name.
    """
    if not run.name:
        raise TrainingError(f"--out must name a folder, to whose name -seed{seed} is added, got {run}")
    return run.with_name(f"{run.name}-seed{seed}")


def train_seeds(config: RunConfig, seeds: Sequence[int], context: JobContext, *, is_fresh: bool = False) -> bool:
    """Train a recipe once for each seed, all together, and export each; runs that a directory holds go on.

    Returns:
        False when it was stopped before the last step.

    Raises:
        TrainingError: as ``job.train``; this recipe's games cannot be played together; a game's loss is not finite, after the
            other games were finished.
        DataError: the data set cannot be loaded.
    """
    contexts = [replace(context, run=run_of(context.run, seed), grids=GRIDS) for seed in seeds]
    with ExitStack() as held, repeatable():
        contexts = [replace(each, check=held.enter_context(opened(each.run))) for each in contexts]
        games, data = _begin_all(config, seeds, contexts, is_fresh=is_fresh)
        title = f"{config.recipe} on {data.name} ({context.device.type}), {len(seeds)} seeds"
        evaluate = make_evaluator(data, context)
        step = min(game.step for game in games)
        with (
            Progress(games[0].recipe.steps, start=step, title=title, console=context.console) as progress,
            ExitStack() as kept,
        ):
            runs = [
                _Run(seed, game, each, kept.enter_context(Keeper(game, data, each, evaluate, partial(_say, progress, seed))))
                for seed, game, each in zip(seeds, games, contexts, strict=True)
            ]
            failed = _play_all(runs, context, progress)
        if any(run.game.step < run.game.recipe.steps for run in runs if run.seed not in failed):
            return False
        tracer = SharedTrace()
        for run in runs:
            if run.seed not in failed:
                run.keeper.end()
                export_game(run.game, data, run.context, tracer=tracer)
        for error in failed.values():
            raise error
        return True


def _begin_all(
    config: RunConfig, seeds: Sequence[int], contexts: Sequence[JobContext], *, is_fresh: bool
) -> tuple[list[Game], DataSet]:
    """The game of each seed, and their data; no directory is written to before all games are known to be possible."""
    data: DataSet | None = None
    found: list[tuple[RunConfig, Game]] = []
    for seed, context in zip(seeds, contexts, strict=True):
        own, game, data = look(replace(config, seed=seed), context, is_fresh=is_fresh, data=data)
        found.append((own, game))
    assert data is not None
    games = [game for _, game in found]
    if going := [game for game in games if game.step < game.recipe.steps]:
        check_together([game for game in going if game.step == going[0].step])
    for (own, game), context in zip(found, contexts, strict=True):
        enter(own, game, data, context, is_fresh=is_fresh, together=seeds)
    return games, data


def _say(progress: Progress, seed: int, text: str) -> None:
    progress.say(f"seed {seed}, {text}")


def _play_all(runs: Sequence[_Run], context: JobContext, progress: Progress) -> dict[int, NonFinite]:
    """Train all games to the last step, or to the same step when stopped; returns those that failed, by seed.

    Games that a kill left at different steps are played in groups: those furthest behind until they are where the next are.
    """
    steps = runs[0].game.recipe.steps
    failed: dict[int, NonFinite] = {}
    cores = BusyCores(context.device)
    while going := [run for run in runs if run.seed not in failed and run.game.step < steps]:
        first = min(run.game.step for run in going)
        behind = [run for run in going if run.game.step == first]
        until = min((run.game.step for run in going if run.game.step > first), default=steps)
        together = StackedGame([run.game for run in behind])
        with suppress(NonFinite):  # when all of them have failed; those of the other steps go on
            _play_together(together, behind, until, context, progress, cores)
        failed |= together.failed
        if context.is_stopped():
            break
    return failed


def _play_together(
    together: StackedGame, runs: Sequence[_Run], until: int, context: JobContext, progress: Progress, cores: BusyCores
) -> None:
    """Train the stacked games of some runs until a step."""
    for step in play(together, until):
        is_stopped, is_asked = context.is_stopped(), context.is_save_requested()
        if is_stopped or is_asked or step == until or runs[0].keeper.is_due(step):
            together.part()
            going = [run for run in runs if run.seed not in together.failed]
            scalars = _mean([run.keeper.keep(is_saved=is_stopped or is_asked or step == until) for run in going])
            if scalars:
                progress.update(step, len(going) * together.images, scalars)
                for warning in cores.warnings():
                    progress.say(f"step {step}: {warning}")
        if is_stopped and step < runs[0].game.recipe.steps:
            progress.say(f"stopped at step {step}; it goes on from there when it is started again")
            break


def _mean(records: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The mean over the runs of every scalar that all of them recorded."""
    names = [name for name in records[0] if all(name in record for record in records)]
    return {name: statistics.fmean(record[name] for record in records) for name in names}
