"""Who is allowed to move: a gate looks at the latest losses and lets players act on theirs, or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from training.errors import TrainingError

Latest = Mapping[str, Tensor]
"""The latest value of every note, ``D/loss`` and ``G/loss`` among them."""


@dataclass(frozen=True)
class Gate:
    """A named function from the standing and a move's players to those of them that may act."""

    name: str
    admit: Callable[[Latest, tuple[str, ...]], tuple[str, ...]]

    def __str__(self) -> str:
        return self.name


always = Gate("always", lambda latest, players: players)
"""Everyone moves."""


def worse_only(margin: float = 0.3, *, scale: Mapping[str, float] | None = None) -> Gate:
    """Only the player that is doing worse moves; within ``margin`` of each other both do.

    Losses are compared after ``scale``: a discriminator's loss is two cross entropies and a generator's one, so the first
    counts half, and at the equilibrium both stand at ln 2. The idea is the seed document's ("only update the current worst
    of the two networks"); the same rule with other thresholds stands in Larsen et al. 2016, arXiv:1512.09300's code.
    """
    weights = {"D": 0.5, "G": 1.0} if scale is None else scale

    def admit(latest: Latest, players: tuple[str, ...]) -> tuple[str, ...]:
        losses = {p: w * float(latest[f"{p}/loss"]) for p, w in weights.items() if f"{p}/loss" in latest}
        worst = max(losses.values(), default=0.0)
        return tuple(p for p in players if losses.get(p, worst) >= worst - margin)

    return Gate(f"worse_only({margin:g})", admit)


def equilibrium(target: float = 0.68, margin: float = 0.35) -> Gate:
    """D rests while it is too good, G while it is too bad, and if both would rest, neither does; whoever else plays moves.

    Too good: D's cost of either kind of sample, ``cost/real`` or ``cost/fake`` (the mean of -log of the probability given to
    the truth), is below target - margin. Too bad: either is above target + margin. Larsen et al. 2016, arXiv:1512.09300, by
    their code (andersbll/autoencoding_beyond_pixels, model/aegan.py). Until D has moved, everyone moves.

    The gate raises TrainingError where D has moved and its costs are not known: its answers are no logits, a critic's for one.
    """

    def admit(latest: Latest, players: tuple[str, ...]) -> tuple[str, ...]:
        costs = [float(latest[name]) for name in ("cost/real", "cost/fake") if name in latest]
        if len(costs) < 2:
            if "D/loss" in latest:
                raise TrainingError("the gate equilibrium needs cost/real and cost/fake, which this recipe's D does not tell")
            return players
        resting = {"D"} if min(costs) < target - margin else set()
        resting |= {"G"} if max(costs) > target + margin else set()
        return tuple(p for p in players if p not in resting or resting == {"D", "G"})

    return Gate(f"equilibrium({target:g} +- {margin:g})", admit)


def loss_ratio(low: float = 0.1, high: float = 10.0, *, d_back: float = 0.5, g_back: float = 0.1) -> Gate:
    """Skip D from L_D / L_G < ``low`` until > ``d_back``, and G from > ``high`` until < ``g_back``.

    The training program of DeePSiM and of PPGN, Nguyen et al. 2017, arXiv:1612.00005, decides so. Which player rested at the
    last update is read from ``rests/D`` and ``rests/G``, which the loop logs.
    """

    def admit(latest: Latest, players: tuple[str, ...]) -> tuple[str, ...]:
        if "D/loss" not in latest or "G/loss" not in latest:
            return players
        d, g = float(latest["D/loss"]), float(latest["G/loss"])
        rested = {p for p in ("D", "G") if f"rests/{p}" in latest and latest[f"rests/{p}"]}
        resting = {"D"} if d < (d_back if "D" in rested else low) * g else set()
        resting |= {"G"} if d > (g_back if "G" in rested else high) * g else set()
        return tuple(p for p in players if p not in resting or resting == {"D", "G"})

    return Gate(f"loss_ratio({low:g}, {high:g})", admit)


GATES: dict[str, Gate] = {
    "always": always,
    "worse-only": worse_only(),
    "equilibrium": equilibrium(),
    "loss-ratio": loss_ratio(),
}
"""The gates that the command line offers, by name."""
