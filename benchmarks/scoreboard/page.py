"""The page: docs/SCOREBOARD.md, made of the rows and the stored results and of nothing else."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.scoreboard.claims import VERDICTS, Verdict, chance, decide
from benchmarks.scoreboard.jobs import missing_recipes, seeds_of
from benchmarks.scoreboard.results import Result, Scale, judged, load_results, mean_and_spread, values_of
from benchmarks.scoreboard.row import Protocol, Row

HEAD = """\
# Scoreboard

Published figures and ours. `python -m benchmarks.scoreboard` makes this page from the rows in `benchmarks/scoreboard/rows/` and
the results in `docs/scoreboard/`. The results have a file for each row, with every seed's value, real data's value, machine,
command and commit; a test compares them with the page. `benchmarks/scoreboard.sh` runs the rows that have no result yet.

- **Claim.** It is what a paper says of its system, in kind. Its bar was written down before the run, and decides the verdict
  with all seeds of the row. *Inside the spread*: a published figure lies within the 95 % prediction interval of our seeds.
- **p.** It is printed where a claim compares two rows: how often chance alone would order the seeds of both so, or more in
  favour of the claim (one-sided Mann-Whitney U test). Three seeds against three have .05 at least. The bar decides, not p.
- **Ours.** It is the mean ± standard deviation over the seeds; of three and more seeds also the median and the best. Of one
  seed, ± is its own error.
- **Real data.** It is the value of real data in the place of the samples. [MEASURES.md](MEASURES.md) defines the measures.
- **Not run.** The row has the cost of a seed: minutes of one H200 for the full protocol, of two cores for the scaled one.
- **Diverged.** A loss of that seed became infinite or NaN. The bar takes the seed for the worst value there can be; *ours*
  leaves it out.
- **Scaled.** The row is smaller or shorter than what was published, and cannot be compared with it.
- **Unverified.** The figure was quoted from memory.
"""
COLUMNS = (
    "system",
    "claim",
    "bar",
    "verdict",
    "recipe, data",
    "measure",
    "published",
    "ours",
    "real data",
    "seeds",
    "steps",
    "seconds",
    "machine",
    "command",
    "commit",
)

CLEAR = 0.1
"""At this p and below, the order of the seeds is hardly chance."""
SEVERAL = 3
"""Number of seeds from which on a median is shown."""
ARROWS = {"higher": "↑", "lower": "↓", "nearer": "nearer"}
"""What is better."""


@dataclass(frozen=True)
class Entry:
    """One line of the page: a row in one of its protocols, its results and the verdict on them."""

    row: Row
    scale: Scale
    protocol: Protocol
    found: list[Result]
    verdict: Verdict | None
    """None where nothing is claimed."""
    chance: float | None = None
    """How often chance alone would speak for the claim as much, where two rows are compared."""


def make_page(rows: Sequence[Row], results: Path) -> str:
    """The whole page as Markdown.

    Raises:
        TrainingError: a file of results is damaged.
    """
    entries = list_entries(rows, results)
    sections = [_section(verdict, [entry for entry in entries if entry.verdict == verdict]) for verdict in (*VERDICTS, None)]
    notes = [f"- {row.name}: {row.note}." for row in rows if row.note]
    lines = [line for section in sections for line in section]
    return "\n".join([HEAD, _summary(entries), "", *lines, "## Notes", "", *notes]) + "\n"


def list_entries(rows: Sequence[Row], results: Path) -> list[Entry]:
    """Every line of the page, in the order of the rows."""

    def of(name: str, scale: Scale, ours: list[Result]) -> list[float]:
        """None where a seed is missing, or where another measure was taken, as KID by another classifier."""
        measures = _measures_of(ours)
        row = next(row for row in rows if row.name == name)
        protocol = row.scaled if scale == "scaled" and row.scaled else row.full
        found = of_seeds(protocol, load_results(results, name, "scaled" if protocol is row.scaled else "full"))
        is_comparable = not measures or _measures_of(found) in (measures, set()) and are_by_one(found, ours)
        return judged(found) if is_comparable and has_all_seeds(protocol, found) else []

    def entry(row: Row, scale: Scale, protocol: Protocol) -> Entry:
        found, claim = of_seeds(protocol, load_results(results, row.name, scale)), protocol.claim
        is_complete = has_all_seeds(protocol, found)
        if claim is None:
            return Entry(row, scale, protocol, found, None)
        values, others = judged(found), partial(of, scale=scale, ours=found)
        verdict = decide(claim, len(found) if is_complete else 0, values, others)
        return Entry(row, scale, protocol, found, verdict, chance(claim, values, others) if is_complete else None)

    pairs: list[tuple[Row, Scale, Protocol | None]] = []
    for row in rows:
        pairs += [(row, "full", row.full), (row, "scaled", row.scaled)]
    return [entry(row, scale, protocol) for row, scale, protocol in pairs if protocol is not None]


def _measures_of(results: Sequence[Result]) -> set[str]:
    """The measures that were taken; none of a seed that diverged."""
    return {result.measure for result in results if not result.has_diverged}


def of_seeds(protocol: Protocol, results: Sequence[Result]) -> list[Result]:
    """The results of a protocol's seeds: others were seen before its claim was stated."""
    return [result for result in results if result.seed in seeds_of(protocol)]


def has_all_seeds(protocol: Protocol, results: Sequence[Result]) -> bool:
    """Whether each seed of a protocol has a result."""
    return {result.seed for result in results} >= set(seeds_of(protocol))


def are_by_one(first: Sequence[Result], second: Sequence[Result]) -> bool:
    """Whether two rows were measured by the same classifier, as far as their results say by which."""
    ours, theirs = ({result.classifier for result in results if result.classifier} for results in (first, second))
    return not ours or not theirs or ours == theirs


def _summary(entries: Sequence[Entry]) -> str:
    """How many systems and lines have each verdict."""
    claimed = [(e.protocol.claim.system, e.verdict) for e in entries if e.protocol.claim]
    systems = list(dict.fromkeys(system for system, verdict in claimed if verdict in ("shown", "inside the spread")))
    counts = ", ".join(f"{sum(e.verdict == verdict for e in entries)} {verdict}" for verdict in VERDICTS)
    number = f"{len(systems)} of {len({system for system, _ in claimed})}"
    compared = [entry.chance for entry in entries if entry.verdict == "shown" and entry.chance is not None]
    return (
        f"**{number} systems have a claim that is shown or inside the spread** ({', '.join(systems) or 'none'}). "
        f"These are not quite the 25 of [SYSTEMS.md](SYSTEMS.md), with which the project began. Claims: {counts}. "
        f"Of the {len(compared)} that are shown by a comparison, {sum(p <= CLEAR for p in compared)} have p ≤ {CLEAR:g}."
    )


def _section(verdict: Verdict | None, entries: Sequence[Entry]) -> list[str]:
    title = "Compared only" if verdict is None else verdict[0].upper() + verdict[1:]
    if not entries:
        return []
    table = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", *map(_line, entries)]
    return [f"## {title}", "", *table, ""]


def _line(entry: Entry) -> str:
    row, protocol, found, claim = entry.row, entry.protocol, entry.found, entry.protocol.claim
    cells = [
        row.system,
        claim.text if claim else "",
        str(claim.bar) if claim else "",
        f"{entry.verdict or ''}{'' if entry.chance is None else f', p = {entry.chance:.2g}'}",
        f"`{' '.join((protocol.recipe, *protocol.options))}`, {row.data}" + (", *scaled*" if entry.scale == "scaled" else ""),
        _measure(row, found),
        _published(row),
        *(_ours(row, protocol, found) if found else _not_run(protocol)),
    ]
    return f"| {' | '.join(cells)} |"


def _measure(row: Row, found: list[Result]) -> str:
    names = sorted(_measures_of(found))
    return f"{', '.join(names) or '-'} ({ARROWS[row.better]})"


def _published(row: Row) -> str:
    return "; ".join(f"{p.figure} [{p.source}{'' if p.is_verified else '; *unverified*'}]" for p in row.published) or "none"


def _not_run(protocol: Protocol) -> list[str]:
    missing = missing_recipes(protocol)
    ours = f"no recipe yet: {', '.join(missing)}" if missing else "not run"
    return [ours, "", f"0 of {protocol.seeds}", "", f"about {protocol.minutes:g} min a seed", "", "", ""]


def _ours(row: Row, protocol: Protocol, found: list[Result]) -> list[str]:
    values, diverged = values_of(found), sum(result.has_diverged for result in found)
    mean, spread = mean_and_spread(values) if values else (math.nan, None)
    error = spread if spread is not None else found[0].error
    real_values = [result.real for result in found if result.real is not None]
    seconds = [result.seconds for result in found if result.seconds is not None]
    return [
        f"**{_figure(row, mean, error)}**{_median_and_best(row, found)}" if values else "none",
        _figure(row, mean_and_spread(real_values)[0], found[0].real_error) if real_values else "-",
        (f"{len(found)} of {protocol.seeds}" if len(found) < protocol.seeds else str(len(found)))
        + (f", of which {diverged} diverged" if diverged else "")
        + (f", of which {len(values)} count" if len(values) < len(found) - diverged else ""),
        _each(f"{result.steps:,}" for result in found),
        f"{mean_and_spread(seconds)[0]:,.0f}" if seconds else "not written down",
        _each(result.machine for result in found),
        f"`{_any_seed(found[0])}`",
        _each(result.commit for result in found),
    ]


def _median_and_best(row: Row, found: list[Result]) -> str:
    """Of three seeds and more, since one game that fails moves the mean of all; nothing of what is only so or not so."""
    values = values_of(found)
    if len(values) < SEVERAL or set(values) <= {0.0, 1.0}:
        return ""
    text = f", median {_figure(row, statistics.median(values), None)}"
    if row.better != "nearer":
        text += f", best {_figure(row, (max if row.better == 'higher' else min)(values), None)}"
    return text


def _any_seed(result: Result) -> str:
    return result.command.replace(f"--seed {result.seed} ", "--seed SEED ")


def _each(values: Iterable[str]) -> str:
    """The different values, in their order."""
    return ", ".join(dict.fromkeys(values))


def _figure(row: Row, value: float, error: float | None) -> str:
    scale, unit = (100, " %") if row.is_share else (1, "")
    text = f"{scale * value:.4g}"
    return f"{text}{'' if error is None else f' ± {scale * error:.2g}'}{unit}"
