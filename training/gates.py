"""Who is allowed to move: a gate looks at the latest losses and lets players act on theirs, or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

Standing = Mapping[str, Tensor]
"""The latest value of every note, ``D/loss`` and ``G/loss`` among them."""


@dataclass(frozen=True)
class Gate:
    """A named function from the standing and a move's players to those of them that may act."""

    name: str
    admit: Callable[[Standing, tuple[str, ...]], tuple[str, ...]]

    def __str__(self) -> str:
        return self.name


always = Gate("always", lambda standing, players: players)
"""Everyone moves."""


def worse_only(margin: float = 0.3, *, scale: Mapping[str, float] | None = None) -> Gate:
    """Only the player that is doing worse moves; within ``margin`` of each other both do.

    Losses are compared after ``scale``: a discriminator's loss is two cross entropies and a generator's one, so the first
    counts half, and at the equilibrium both stand at ln 2. The idea is the seed document's ("only update the current worst
    of the two networks"); the same rule with other thresholds stands in Larsen et al. 2016, arXiv:1512.09300's code.
    """
    weights = {"D": 0.5, "G": 1.0} if scale is None else scale

    def admit(standing: Standing, players: tuple[str, ...]) -> tuple[str, ...]:
        losses = {p: w * float(standing[f"{p}/loss"]) for p, w in weights.items() if f"{p}/loss" in standing}
        worst = max(losses.values(), default=0.0)
        return tuple(p for p in players if losses.get(p, worst) >= worst - margin)

    return Gate(f"worse_only({margin:g})", admit)


GATES: dict[str, Gate] = {"always": always, "worse-only": worse_only()}
"""The gates that the command line offers, by name."""
