"""Runs rows: trains, scores, stores; in order of cost, leaving out what is stored, going on where a run stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scoreboard.machine import describe_commit, describe_machine
from benchmarks.scoreboard.measures import RUN, SCORES, STAGES
from benchmarks.scoreboard.results import RESULTS, Result, Scale, load_results, store_result
from benchmarks.scoreboard.row import Protocol, Row
from training.__main__ import main
from training.errors import TrainingError
from training.files import write_json
from training.recipes import CATALOGUE
from training.report.journal import read_rows
from training.run.job import MODEL

TRAINING = ("-m", "training")
BY_NETS = ("gmam", "reconstruct", "complete")
"""Commands that run nets and take `--device`."""


class Stopped(Exception):
    """The user asked to stop; finished results are kept."""


@dataclass(kw_only=True)
class Workspace:
    """Where rows run and where their results go."""

    docs: Path
    runs: Path
    root: Path
    """The repository, from which programs are started."""
    has_cuda: bool
    say: Callable[[str], None]
    device: str = "auto"
    stop: int = 0
    """The signal that asked for an end, or 0."""
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def run(self, arguments: Sequence[str]) -> None:
        """Python with these arguments, its output to ours.

        Raises:
            Stopped: an end was asked for; TrainingError: the program failed.
        """
        if self.stop:
            raise Stopped
        self._child = subprocess.Popen([sys.executable, *arguments], cwd=self.root)
        code = self._child.wait()
        self._child = None
        if self.stop:
            raise Stopped
        if code:
            raise TrainingError(f"python {' '.join(arguments)} ended with exit code {code}")

    def run_here(self, arguments: Sequence[str]) -> None:
        """``python -m training`` with these arguments in this process.

        Raises:
            Stopped, TrainingError: as ``run``.
        """
        if self.stop:
            raise Stopped
        if code := main([*arguments]):
            raise TrainingError(f"python -m training {' '.join(arguments)} ended with exit code {code}")

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """SIGTERM and SIGINT reach the program that runs, which then saves a checkpoint; no other is started."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self.stop = number
        if self._child is not None:
            self._child.send_signal(signal.SIGTERM)


@dataclass(frozen=True)
class Job:
    """One row at one scale."""

    row: Row
    scale: Scale
    protocol: Protocol


def jobs_of(rows: Sequence[Row], *, scale: str, has_cuda: bool) -> list[Job]:
    """The cheapest first; ``auto`` takes what is full on a GPU and on the CPU what is scaled, where there is such a thing."""
    is_scaled = scale == "scaled" or (scale == "auto" and not has_cuda)
    jobs = [
        Job(row, "scaled", row.scaled) if is_scaled and row.scaled is not None else Job(row, "full", row.full)
        for row in rows
        if not (is_scaled and row.needs_gpu)
    ]
    return sorted(jobs, key=lambda job: job.protocol.minutes * job.protocol.seeds)


def seeds_of(protocol: Protocol) -> range:
    """The seeds of a protocol."""
    return range(protocol.first_seed, protocol.first_seed + protocol.seeds)


def missing_recipes(protocol: Protocol) -> list[str]:
    """The recipes of an protocol that the catalogue does not have."""
    return [recipe for recipe in (protocol.recipe, *protocol.measure.opponents) if recipe not in CATALOGUE]


def run_jobs(jobs: Sequence[Job], workspace: Workspace, *, seeds: int | None = None) -> list[str]:
    """Run what has no result yet; a row that fails is reported and skipped.

    Args:
        jobs: in the order in which they run.
        workspace: where.
        seeds: how many seeds a row; None is the row's own number.

    Returns:
        What failed, a sentence each.

    Raises:
        Stopped: an end was asked for.
    """
    failures = []
    for job in jobs:
        missing = missing_recipes(job.protocol)
        if missing:
            workspace.say(f"{job.row.name}: no recipe yet: {', '.join(missing)}")
            continue
        stored = load_results(workspace.docs / RESULTS, job.row.name, job.scale)
        done = {result.seed for result in stored if result.command == spell(job.protocol, result.seed)}
        for seed in seeds_of(job.protocol)[:seeds]:
            if seed in done:
                continue
            workspace.say(f"{job.row.name} ({job.scale}), seed {seed}")
            try:
                result = _measured(job.protocol, seed, workspace)
            except TrainingError as error:
                failures.append(f"{job.row.name} ({job.scale}), seed {seed}: {error}")
                workspace.say(failures[-1])
                break
            store_result(workspace.docs / RESULTS, job.row.name, job.scale, result)
            value = "none" if result.value is None else f"{result.value:.4g}"
            workspace.say(f"{job.row.name} ({job.scale}), seed {seed}: {result.measure} {value}")
    return failures


def spell(protocol: Protocol, seed: int) -> str:
    """The commands from training to the figure, an opponent's run by its recipe in capitals."""
    measured = protocol.measure.commands({recipe: Path(recipe.upper()) for recipe in protocol.measure.opponents})
    if protocol.are_together:
        measured = [[f"{RUN}-seed{seed}" if word == RUN else word for word in words] for words in measured]
    trained = _train_words(protocol, protocol.recipe, seed, RUN)
    return "; ".join(" ".join(["python", *words]) for words in [trained, *([*TRAINING, *words] for words in measured)])


def _measured(protocol: Protocol, seed: int, workspace: Workspace) -> Result:
    """One seed, from training to the figure."""
    commit = describe_commit(workspace.root)
    opponents = {recipe: _trained(protocol, recipe, seed, workspace) for recipe in protocol.measure.opponents}
    run, commands = _run_of(protocol, protocol.recipe, seed, workspace), protocol.measure.commands(opponents)
    _play_stages(protocol, seed, run, commands, workspace)
    measurement = protocol.measure.read(run)
    return Result(
        **vars(measurement),
        seed=seed,
        steps=_last_step(run),
        seconds=_seconds(run),
        machine=describe_machine(has_cuda=workspace.has_cuda and workspace.device != "cpu"),
        command=spell(protocol, seed),
        commit=commit,
    )


def _play_stages(protocol: Protocol, seed: int, run: Path, commands: list[list[str]], workspace: Workspace) -> None:
    """Train to the end of each stage and run the commands there; stages that stages.json holds are over."""
    stages = protocol.measure.stages
    path = run / STAGES
    over: list[dict[str, Any]] = json.loads(path.read_text())["stages"] if path.exists() else []
    are_together = protocol.are_together
    out = str(run).removesuffix(f"-seed{seed}") if are_together else str(run)
    for share in stages[len(over) :]:
        step = None if len(stages) == 1 else max(1, round(share * _steps(protocol)))
        if not (are_together and (run / MODEL).exists()):
            workspace.run([*_train_words(protocol, protocol.recipe, seed, out, step), "--device", workspace.device])
        for words in [] if protocol.measure.is_there(run) else commands:
            more = ["--device", workspace.device] if words[0] in BY_NETS else []
            places = [str(run) + word.removeprefix(RUN) if word.split("/")[0] == RUN else word for word in words]
            if are_together:
                workspace.run_here([*places, *more])
            else:
                workspace.run([*TRAINING, *places, *more])
        over.append({"step": _last_step(run), "values": _values(run)})
        if len(stages) > 1:
            write_json(path, {"stages": over})


def _trained(protocol: Protocol, recipe: str, seed: int, workspace: Workspace) -> Path:
    """The run of an opponent, trained to its end; it is another row's run where that has the same settings."""
    run = _run_of(protocol, recipe, seed, workspace)
    workspace.run([*_train_words(protocol, recipe, seed, str(run)), "--device", workspace.device])
    return run


def _train_words(protocol: Protocol, recipe: str, seed: int, run: str, step: int | None = None) -> list[str]:
    """Words after ``python`` that play the games of a seed to their end, or to ``step``."""
    steps = step or protocol.steps
    seeds = seeds_of(protocol)
    return [
        *([protocol.script] if protocol.script else [*TRAINING, "train", recipe]),
        *protocol.options,
        *([] if steps is None else ["--steps", str(steps)]),
        *(["--seeds", f"{seeds[0]}-{seeds[-1]}"] if protocol.are_together else ["--seed", str(seed)]),
        "--out",
        run,
    ]


def _run_of(protocol: Protocol, recipe: str, seed: int, workspace: Workspace) -> Path:
    """A directory for each different training; rows that measure the same training share it, stages apart."""
    parts = [
        recipe,
        *(word.removeprefix("--") for word in protocol.options),
        *([str(protocol.steps)] if protocol.steps else []),
    ]
    parts += ["stages"] if len(protocol.measure.stages) > 1 else []
    return workspace.runs / f"{'-'.join(parts).replace(':', '-').replace('/', '-')}-seed{seed}"


def _steps(protocol: Protocol) -> int:
    return protocol.steps or CATALOGUE[protocol.recipe].steps


def _values(run: Path) -> dict[str, float]:
    path = run / SCORES
    return {row["measure"]: row["value"] for row in json.loads(path.read_text())["rows"]} if path.exists() else {}


def _last_step(run: Path) -> int:
    rows = read_rows(run / "stats.jsonl")
    return int(rows[-1]["step"]) if rows else 0


def _seconds(run: Path) -> float | None:
    rows = read_rows(run / "timings.jsonl")
    return float(rows[-1]["wall_s"]) if rows else None
