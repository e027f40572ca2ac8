"""The scoreboard's rows as data: what was published, and how it is measured here."""

from __future__ import annotations

from benchmarks.scoreboard.row import Row
from benchmarks.scoreboard.rows.critics import bare, critics, gridded
from benchmarks.scoreboard.rows.features import features
from benchmarks.scoreboard.rows.gates import balance, gates, ours
from benchmarks.scoreboard.rows.images import first, variational
from benchmarks.scoreboard.rows.labelled import labelled
from benchmarks.scoreboard.rows.levels import details, growing, paces, pyramids
from benchmarks.scoreboard.rows.modern import plain, small, stacked
from benchmarks.scoreboard.rows.pictures import codes, completions, pictures
from benchmarks.scoreboard.rows.sequences import sequences
from benchmarks.scoreboard.rows.several import generators, several, together
from benchmarks.scoreboard.rows.toys import toys

ROWS: tuple[Row, ...] = (
    *toys(),
    *first(),
    *labelled(),
    *critics(),
    *gridded(),
    *bare(),
    *several(),
    *together(),
    *generators(),
    *variational(),
    *pictures(),
    *codes(),
    *completions(),
    *pyramids(),
    *details(),
    *growing(),
    *paces(),
    *stacked(),
    *plain(),
    *small(),
    *ours(),
    *gates(),
    *balance(),
    *sequences(),
    *features(),
)
"""Every row, in the order of the page."""
