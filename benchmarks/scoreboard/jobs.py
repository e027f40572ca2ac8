"""Runs rows: trains, scores, stores; in order of cost, leaving out what is stored, going on where a run stopped."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scoreboard.measures import RUN, SCORES, STAGES
from benchmarks.scoreboard.origin import ORIGIN, begin, commit_of, noted, read_origin
from benchmarks.scoreboard.results import RESULTS, Measurement, Result, Scale, load_results, store_result
from benchmarks.scoreboard.row import Protocol, Row
from benchmarks.scoreboard.workspace import TRAINING, ProgramError, Workspace
from training.errors import NonFinite, TrainingError
from training.files import write_json
from training.recipes import CATALOGUE
from training.report.journal import read_rows
from training.run.job import MODEL

BY_NETS = ("gmam", "reconstruct", "complete")
"""Commands that run nets and take `--device`."""


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


def is_of(protocol: Protocol, result: Result) -> bool:
    """Whether a stored result is what a protocol would measure: by its command, and by its parameters if stored."""
    today = protocol.measure.parameters
    return result.command == spell(protocol, result.seed) and {**today, **(result.parameters or {})} == today


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
        workspace: where, and by how many threads.
        seeds: how many seeds a row; None is the row's own number.

    Returns:
        What failed, a sentence each.

    Raises:
        Stopped: an end was asked for.
    """
    failures: dict[tuple[str, Scale], str] = {}
    storing = threading.Lock()

    def play(parts: Sequence[tuple[Job, int]]) -> None:
        for job, seed in parts:
            name = f"{job.row.name} ({job.scale}), seed {seed}"
            if (job.row.name, job.scale) in failures:
                continue
            workspace.say(name)
            try:
                result = _measured(job.protocol, seed, workspace)
            except TrainingError as error:
                workspace.say(failures.setdefault((job.row.name, job.scale), f"{name}: {error}"))
                continue
            with storing:
                store_result(workspace.docs / RESULTS, job.row.name, job.scale, result)
            value = "none" if result.value is None else f"{result.value:.4g}"
            workspace.say(f"{name}: " + ("it diverged" if result.has_diverged else f"{result.measure} {value}"))

    groups = _apart(_missing(jobs, workspace, seeds), workspace)
    if workspace.workers == 1:
        for group in groups:
            play(group)
    else:
        with ThreadPoolExecutor(workspace.workers) as threads:
            for played in [threads.submit(play, group) for group in groups]:
                played.result()
    return list(failures.values())


def _missing(jobs: Sequence[Job], workspace: Workspace, seeds: int | None) -> list[tuple[Job, int]]:
    """The seeds that have no result yet, of rows whose recipes exist."""
    found = []
    for job in jobs:
        if missing := missing_recipes(job.protocol):
            workspace.say(f"{job.row.name}: no recipe yet: {', '.join(missing)}")
            continue
        stored = load_results(workspace.docs / RESULTS, job.row.name, job.scale)
        done = {result.seed for result in stored if is_of(job.protocol, result)}
        found += [(job, seed) for seed in seeds_of(job.protocol)[:seeds] if seed not in done]
    return found


def _apart(parts: Sequence[tuple[Job, int]], workspace: Workspace) -> list[list[tuple[Job, int]]]:
    """Groups that share no run directory, in the order of their first parts; each is run by one thread."""
    groups: list[tuple[set[Path], list[tuple[Job, int]]]] = []
    for job, seed in parts:
        protocol = job.protocol
        runs = {_run_of(protocol, recipe, seed, workspace) for recipe in (protocol.recipe, *protocol.measure.opponents)}
        if protocol.are_together:
            runs |= {_run_of(protocol, protocol.recipe, other, workspace) for other in seeds_of(protocol)}
        sharing = [group for group in groups if group[0] & runs]
        if not sharing:
            groups.append((runs, [(job, seed)]))
            continue
        first, *others = sharing
        first[0].update(runs, *(group[0] for group in others))
        first[1].extend([*(part for group in others for part in group[1]), (job, seed)])
        groups = [group for group in groups if group not in others]
    return [group for _, group in groups]


def spell(protocol: Protocol, seed: int) -> str:
    """The commands from training to the figure, an opponent's run by its recipe in capitals."""
    measured = protocol.measure.commands({recipe: Path(recipe.upper()) for recipe in protocol.measure.opponents})
    if protocol.are_together:
        measured = [[f"{RUN}-seed{seed}" if word == RUN else word for word in words] for words in measured]
    trained = _train_words(protocol, protocol.recipe, seed, RUN)
    return "; ".join(" ".join(["python", *words]) for words in [trained, *([*TRAINING, *words] for words in measured)])


def _measured(protocol: Protocol, seed: int, workspace: Workspace) -> Result:
    """One seed, from training to the figure."""
    opponents = {recipe: _trained(protocol, recipe, seed, workspace) for recipe in protocol.measure.opponents}
    run, commands = _run_of(protocol, protocol.recipe, seed, workspace), protocol.measure.commands(opponents)
    has_diverged = not _play_stages(protocol, seed, run, commands, workspace)
    measurement = Measurement(measure="none", value=None) if has_diverged else protocol.measure.read(run)
    origin = read_origin(run)
    if origin is None:
        raise TrainingError(f"{run / ORIGIN} cannot be read: the run's commit and machine are not known")
    return Result(
        **vars(measurement),
        seed=seed,
        steps=_last_step(run),
        seconds=_seconds(run),
        machine=", then ".join(origin.machines),
        command=spell(protocol, seed),
        commit=commit_of(origin, protocol, workspace),
        parameters=protocol.measure.parameters,
        has_diverged=has_diverged,
    )


def _play_stages(protocol: Protocol, seed: int, run: Path, commands: list[list[str]], workspace: Workspace) -> bool:
    """Train to the end of each stage and run the commands there; stages that stages.json holds are over.

    Returns:
        False where a loss was not finite, so that there is nothing to measure.
    """
    are_together = protocol.are_together
    out = str(run).removesuffix(f"-seed{seed}") if are_together else str(run)
    seeds = seeds_of(protocol) if are_together else [seed]
    runs = [_run_of(protocol, protocol.recipe, seed, workspace) for seed in seeds]
    stages, path = protocol.measure.stages, run / STAGES
    steps = [None if len(stages) == 1 else max(1, round(share * _steps(protocol))) for share in stages]
    trainings = [_train_words(protocol, protocol.recipe, seed, out, step) for step in steps]
    begin(runs, protocol, workspace)
    over: list[dict[str, Any]] = json.loads(path.read_text())["stages"] if path.exists() else []
    for words in trainings[len(over) :]:
        if not (are_together and (run / MODEL).exists()):
            with noted(runs, words, workspace):
                is_finite = _is_finite([*words, "--device", workspace.device], workspace)
            if not is_finite and not (are_together and (run / MODEL).exists()):
                return False
        for words in commands:
            more = ["--device", workspace.device] if words[0] in BY_NETS else []
            places = [str(run) + word.removeprefix(RUN) if word.split("/")[0] == RUN else word for word in words]
            if are_together:
                workspace.run_here([*places, *more])
            else:
                workspace.run([*TRAINING, *places, *more])
        over.append({"step": _last_step(run), "values": _values(run)})
        if len(stages) > 1:
            write_json(path, {"stages": over})
    return True


def _is_finite(words: list[str], workspace: Workspace) -> bool:
    """Train; False where it ended since a loss was infinite or NaN, of one seed at least."""
    try:
        workspace.run(words)
    except ProgramError as error:
        if error.code == NonFinite.exit_code:
            return False
        raise
    return True


def _trained(protocol: Protocol, recipe: str, seed: int, workspace: Workspace) -> Path:
    """The run of an opponent, trained to its end; it is another row's run where that has the same settings."""
    run = _run_of(protocol, recipe, seed, workspace)
    words = _train_words(protocol, recipe, seed, str(run))
    begin([run], protocol, workspace)
    with noted([run], words, workspace):
        workspace.run([*words, "--device", workspace.device])
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
    """A directory for each different training; rows that measure the same training share it.

    A run in stages is measured on its way, so that its directory is named by the stages and by what is measured at each, too.
    """
    parts = [
        recipe,
        *(word.removeprefix("--") for word in protocol.options),
        *([str(protocol.steps)] if protocol.steps else []),
    ]
    if len(stages := protocol.measure.stages) > 1:
        key = json.dumps([stages, protocol.measure.commands({})])
        parts.append(f"stages-{hashlib.sha256(key.encode()).hexdigest()[:8]}")
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
