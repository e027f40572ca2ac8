"""docs/SYSTEMS.md: each of the 25 systems, its recipes, where it is served, and the verdicts on what is claimed of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.scoreboard.claims import VERDICTS
from benchmarks.scoreboard.page import Entry, list_entries
from benchmarks.scoreboard.row import Row
from training.recipes.systems import SYSTEMS, System, served

HEAD = """\
# Systems

The 25 systems of this project. Each is trained by a recipe, and its generator is exported to one file. "Served by" has the
route of the service, or the command. TorchServe serves the same files, but those that need a picture. Claims, bars, figures
and commands are in [SCOREBOARD.md](SCOREBOARD.md), all recipes in [RECIPES.md](RECIPES.md).
*Scaled*: by a protocol that is smaller or shorter than the published one. *(2)*: two figures of the claim have this
verdict. [SCOREBOARD.md](SCOREBOARD.md) defines the verdicts.
`python -m benchmarks.scoreboard` makes this page; a test compares it with the catalogue and the results.

| system | recipe | served by | claim | verdict |
|---|---|---|---|---|
"""


def make_systems(rows: Sequence[Row], results: Path) -> str:
    """The page as Markdown."""
    entries = [entry for entry in list_entries(rows, results) if entry.protocol.claim]
    return HEAD + "".join(_line(system, entries) for system in SYSTEMS)


def _line(system: System, entries: Sequence[Entry]) -> str:
    is_command = system.command is not None
    ours = [e for e in entries if e.protocol.recipe in system.names and (e.row.name.startswith("completion") == is_command)]
    texts = dict.fromkeys(e.protocol.claim.text for e in ours if e.protocol.claim)
    verdicts = [_verdict([e for e in ours if e.protocol.claim and e.protocol.claim.text == text]) for text in texts]
    cells = (
        f"{system.name}<br>{system.source}",
        ", ".join(f"`{name}`" for name in dict.fromkeys((system.main.name, *system.names))),
        served(system),
        "<br>".join(texts) or "none",
        "<br>".join(verdicts),
    )
    return f"| {' | '.join(cells)} |\n"


def _verdict(entries: Sequence[Entry]) -> str:
    """The verdicts of a claim's rows that were run, the best one first, each with the number of its rows above one."""
    found: dict[str, int] = {}
    for entry in sorted(entries, key=lambda entry: (VERDICTS.index(entry.verdict or "not run"), entry.scale)):
        if entry.verdict != "not run":
            text = f"{entry.verdict}{', scaled' if entry.scale == 'scaled' else ''}"
            found[text] = found.get(text, 0) + 1
    return "; ".join(text if count == 1 else f"{text} ({count})" for text, count in found.items()) or "not run"
