"""What a row of the scoreboard is: what was published, and how it is measured here, in full and scaled down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.scoreboard.claims import Claim
from benchmarks.scoreboard.measures import Measure

Direction = Literal["higher", "lower", "nearer"]
HIGHER: Direction = "higher"
LOWER: Direction = "lower"


@dataclass(frozen=True, kw_only=True)
class PublishedFigure:
    """A published figure."""

    figure: str
    """As printed, with its spread."""
    source: str
    """Where."""
    is_verified: bool = True
    """Whether it was read there; False means that it is quoted from memory and may be wrong."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way of running a row: on the full sizes, or scaled down to what a CPU does in reasonable time."""

    recipe: str
    """A name of the catalogue; it may not be built yet."""
    measure: Measure
    steps: int | None = None
    """Training steps; None is the recipe's own number."""
    options: tuple[str, ...] = ()
    """Further options of ``train``."""
    script: str | None = None
    """A program of this repository that plays a seed's games in the place of ``train``, for rows of more than one game.

    It takes ``--steps``, ``--seed``, ``--out`` and ``--device``, too.
    """
    seeds: int = 3
    first_seed: int = 0
    """Higher than 0 where lower seeds were seen before the claim was stated."""
    are_together: bool = False
    """Whether all seeds are trained at once and scored in one process: for small games, whose programs take longer to start."""
    claim: Claim | None = None
    """What this way of running it is to show; None compares only."""
    minutes: float
    """About how long a seed takes, of one H200 for what is full, of two cores for what is scaled."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    """Of its results' file."""
    system: str
    data: str
    better: Direction
    published: tuple[PublishedFigure, ...] = ()
    """Empty where no number was published."""
    full: Protocol
    scaled: Protocol | None = None
    """None: there is no smaller way, and unless the row needs a GPU, a CPU plays it in full."""
    needs_gpu: bool = False
    """Whether a CPU would take days, and there is no smaller way; on a CPU it is left out unless asked for in full."""
    is_share: bool = False
    """Whether the figure is a share, shown in per cent."""
    note: str = ""
    """What a reader has to know to compare."""
