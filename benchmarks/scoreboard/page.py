"""The page: docs/SCOREBOARD.md, made of the rows and the stored results and of nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.scoreboard.play import missing_recipes
from benchmarks.scoreboard.results import Protocol, Result, load_results, mean_and_spread
from benchmarks.scoreboard.row import Protocol_, Row

HEAD = """\
# Scoreboard

Published figures beside ours. `python -m benchmarks.scoreboard` makes this page from the rows in `benchmarks/scoreboard/rows/`
and the results in `docs/scoreboard/`, one file a row, with every seed's value, floor, machine, command and commit; a test
compares. `benchmarks/scoreboard.sh` runs what has no result yet.

"Ours" is mean ± standard deviation over seeds, with the median and the best of three and more; of one seed, ± is its own
error. "Floor" is what real data score in the model's place. A row without a run says "not run" and what a seed would cost:
minutes of one H200 where full, of two cores where scaled. *Scaled* rows are smaller or shorter than what was published and are
not comparable with it. Figures marked *unverified* were quoted from memory. What the measures are: [MEASURES.md](MEASURES.md).
"""
COLUMNS = (
    "system",
    "recipe, data",
    "measure",
    "published",
    "ours",
    "floor",
    "seeds",
    "steps",
    "seconds",
    "machine",
    "command",
    "commit",
)

SEVERAL = 3
"""Number of seeds from which on a median is shown."""
ARROWS = {"higher": "↑", "lower": "↓", "nearer": "nearer"}
"""What is better."""


def make_page(rows: Sequence[Row], results: Path) -> str:
    """The whole page as Markdown.

    Raises:
        TrainingError: a file of results is damaged.
    """
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row in rows:
        lines.append(_line(row, "full", row.full, load_results(results, row.name, "full")))
        if row.scaled is not None:
            lines.append(_line(row, "scaled", row.scaled, load_results(results, row.name, "scaled")))
    notes = [f"- {row.name}: {row.note}." for row in rows if row.note]
    return "\n".join([HEAD, *lines, "", "## Notes", "", *notes]) + "\n"


def _line(row: Row, protocol: Protocol, effort: Protocol_, found: list[Result]) -> str:
    cells = [
        row.system,
        f"`{' '.join((effort.recipe, *effort.options))}`, {row.data}" + (", *scaled*" if protocol == "scaled" else ""),
        _measure(row, found),
        _published(row),
        *(_ours(row, effort, found) if found else _not_run(effort)),
    ]
    return f"| {' | '.join(cells)} |"


def _measure(row: Row, found: list[Result]) -> str:
    names = sorted({result.measure for result in found})
    return f"{', '.join(names) or '-'} ({ARROWS[row.better]})"


def _published(row: Row) -> str:
    conditioning = [f"{p.figure} [{p.source}{'' if p.is_verified else '; *unverified*'}]" for p in row.published]
    return "; ".join(conditioning) or "none"


def _not_run(effort: Protocol_) -> list[str]:
    missing = missing_recipes(effort)
    ours = f"no recipe yet: {', '.join(missing)}" if missing else "not run"
    return [ours, "", f"0 of {effort.seeds}", "", f"about {effort.minutes:g} min a seed", "", "", ""]


def _ours(row: Row, effort: Protocol_, found: list[Result]) -> list[str]:
    mean, spread = mean_and_spread([result.value for result in found])
    error = spread if spread is not None else found[0].error
    floors = [result.floor for result in found if result.floor is not None]
    seconds = [result.seconds for result in found if result.seconds is not None]
    return [
        f"**{_figure(row, mean, error)}**{_median_and_best(row, found)}",
        _figure(row, mean_and_spread(floors)[0], found[0].floor_error) if floors else "-",
        f"{len(found)} of {effort.seeds}" if len(found) < effort.seeds else str(len(found)),
        _each(f"{result.steps:,}" for result in found),
        f"{mean_and_spread(seconds)[0]:,.0f}" if seconds else "not written down",
        _each(result.machine for result in found),
        f"`{_any_seed(found[0])}`",
        _each(result.commit for result in found),
    ]


def _median_and_best(row: Row, found: list[Result]) -> str:
    """Of three seeds and more, since one game that fails moves the mean of all; nothing of what is only so or not so."""
    values = [result.value for result in found]
    if len(values) < SEVERAL or set(values) <= {0.0, 1.0}:
        return ""
    conditioning = [f"median {_figure(row, statistics.median(values), None)}"]
    if row.better != "nearer":
        conditioning.append(f"best {_figure(row, (max if row.better == 'higher' else min)(values), None)}")
    return f", {', '.join(conditioning)}"


def _any_seed(result: Result) -> str:
    return result.command.replace(f"--seed {result.seed} ", "--seed SEED ")


def _each(values: Iterable[str]) -> str:
    """The different values, in their order."""
    return ", ".join(dict.fromkeys(values))


def _figure(row: Row, value: float, error: float | None) -> str:
    scale, unit = (100, " %") if row.is_share else (1, "")
    text = f"{scale * value:.4g}"
    return f"{text}{'' if error is None else f' ± {scale * error:.2g}'}{unit}"
