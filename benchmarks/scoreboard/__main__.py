"""``python -m benchmarks.scoreboard``: make the page, check it, or run rows first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from benchmarks.scoreboard.jobs import jobs_of, run_jobs
from benchmarks.scoreboard.page import make_page
from benchmarks.scoreboard.results import RESULTS
from benchmarks.scoreboard.row import Row
from benchmarks.scoreboard.rows import ROWS
from benchmarks.scoreboard.systems import make_systems
from benchmarks.scoreboard.workspace import Stopped, Workspace
from training.errors import TrainingError
from training.files import locked, write_whole
from training.run.launch import Device, device_of

PAGE = "SCOREBOARD.md"
SYSTEMS_PAGE = "SYSTEMS.md"


@dataclass(frozen=True, kw_only=True)
class Scoreboard:
    """Write docs/SCOREBOARD.md and docs/SYSTEMS.md from the stored results; with --play first run rows that have none."""

    rows: tyro.conf.Positional[tuple[str, ...]] = ()
    """Rows to run; by default all."""
    play: bool = False
    """Train and score rows, the cheapest first, and store their results. A call that was stopped continues."""
    check: bool = False
    """Write nothing; the exit code says whether both pages agree with the results."""
    scale: Literal["auto", "full", "scaled"] = "auto"
    """Protocol of a row; auto is the full one on a GPU and the scaled one on the CPU."""
    seeds: int | None = None
    """Number of seeds of each row; by default the row's own number."""
    docs: Path = Path("docs")
    """Folder of the pages; the results are in scoreboard/ below it."""
    runs: Path = Path("runs/scoreboard")
    """Folder of the run directories."""
    device: Device = "auto"
    """Device; auto is CUDA where there is a GPU."""
    workers: int = 1
    """Number of seeds at a time, each in processes of its own. On a GPU start NVIDIA's MPS first: docs/SCALING.md."""

    def __call__(self, console: Console) -> int:

        if self.check:
            return int(not is_current(ROWS, self.docs))
        if not self.play:
            console.print(f"wrote {write_page(ROWS, self.docs)}", highlight=False)
            return 0
        say = partial(console.print, markup=False, highlight=False)
        has_cuda = device_of(self.device).type == "cuda"
        if self.workers < 1:
            raise TrainingError(f"--workers must be at least 1, got {self.workers}")
        workspace = Workspace(
            docs=self.docs,
            runs=self.runs,
            root=Path.cwd(),
            device=self.device,
            has_cuda=has_cuda,
            say=say,
            workers=self.workers,
        )
        return run_rows(ROWS, self.rows, workspace, scale=self.scale, seeds=self.seeds)


def choose(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows of these names, or all where none is named.

    Raises:
        TrainingError: no row is called so.
    """
    known = {row.name: row for row in rows}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise TrainingError(f"a row must be one of {', '.join(known)}, got {', '.join(unknown)}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(rows)


def write_page(rows: Sequence[Row], docs: Path) -> Path:
    """Make both pages anew; the scoreboard's path."""
    path = docs / PAGE
    write_whole(path, make_page(rows, docs / RESULTS).encode())
    write_whole(docs / SYSTEMS_PAGE, make_systems(rows, docs / RESULTS).encode())
    return path


def is_current(rows: Sequence[Row], docs: Path) -> bool:
    """Whether both pages are what the stored results make."""
    pages = {docs / PAGE: make_page, docs / SYSTEMS_PAGE: make_systems}
    return all(path.exists() and path.read_text() == make(rows, docs / RESULTS) for path, make in pages.items())


def run_rows(rows: Sequence[Row], names: Sequence[str], workspace: Workspace, *, scale: str, seeds: int | None) -> int:
    """Run what of these rows has no result yet, make the page, and give the exit code: 0, 1 where a row failed, 128 + signal.

    Raises:
        TrainingError: no row is called so, or another call is running rows here.
    """
    jobs = jobs_of(choose(rows, names), scale=scale, has_cuda=workspace.has_cuda)
    workspace.runs.mkdir(parents=True, exist_ok=True)
    with locked(workspace.runs), workspace.stoppable():
        try:
            failures = run_jobs(jobs, workspace, seeds=seeds)
        except Stopped:
            workspace.say("stopped; the same call goes on from there")
            failures = []
        write_page(rows, workspace.docs)
    for failure in failures:
        workspace.say(f"failed: {failure}")
    return 128 + workspace.stop if workspace.stop else int(bool(failures))


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 132)
    command = tyro.cli(Scoreboard, prog="python -m benchmarks.scoreboard", args=arguments)
    try:
        return command(console)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
