"""``python -m training scoreboard``: make the page, check it, or run rows first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.scoreboard.page import make_page
from benchmarks.scoreboard.play import Place, Stopped, jobs_of, play
from benchmarks.scoreboard.results import RESULTS
from benchmarks.scoreboard.row import Row
from training.errors import TrainingError
from training.files import locked, write_whole

PAGE = "SCOREBOARD.md"


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
    """Make the page anew."""
    path = docs / PAGE
    write_whole(path, make_page(rows, docs / RESULTS).encode())
    return path


def is_current(rows: Sequence[Row], docs: Path) -> bool:
    """Whether the page is what the stored results make."""
    path = docs / PAGE
    return path.exists() and path.read_text() == make_page(rows, docs / RESULTS)


def run_rows(rows: Sequence[Row], names: Sequence[str], place: Place, *, scale: str, seeds: int | None) -> int:
    """Run what of these rows has no result yet, make the page, and give the exit code: 0, 1 where a row failed, 128 + signal.

    Raises:
        TrainingError: no row is called so, or another call is running rows here.
    """
    jobs = jobs_of(choose(rows, names), scale=scale, has_cuda=place.has_cuda)
    place.runs.mkdir(parents=True, exist_ok=True)
    with locked(place.runs), place.stoppable():
        try:
            failures = play(jobs, place, seeds=seeds)
        except Stopped:
            place.say("stopped; the same call goes on from there")
            failures = []
        write_page(rows, place.docs)
    for failure in failures:
        place.say(f"failed: {failure}")
    return 128 + place.stop if place.stop else int(bool(failures))
