"""The scoreboard's rows as data: what was published, and how it is measured here."""

from __future__ import annotations

from training.scoreboard.row import Row
from training.scoreboard.rows.critics import bare, critics
from training.scoreboard.rows.gates import gates, ours
from training.scoreboard.rows.images import first, variational
from training.scoreboard.rows.labelled import labelled
from training.scoreboard.rows.modern import small, stacked
from training.scoreboard.rows.several import several
from training.scoreboard.rows.toys import toys

ROWS: tuple[Row, ...] = (
    *toys(),
    *first(),
    *labelled(),
    *critics(),
    *bare(),
    *several(),
    *variational(),
    *stacked(),
    *small(),
    *ours(),
    *gates(),
)
"""Every row, in the order of the page."""
