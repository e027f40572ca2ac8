"""Which players may update: a gate reads the latest losses and admits players, or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from training.errors import TrainingError

Latest = Mapping[str, Tensor]
"""The latest value of every logged scalar, ``D/loss`` and ``G/loss`` among them."""
FOOLING = "cost/fooling"
"""The mean of -log D(G(z)), which a G logs whose loss is another one: a zero-sum loss is no cross entropy and below 0."""


@dataclass(frozen=True)
class Gate:
    """A named function from the latest scalars and an update's players to the players that may update."""

    name: str
    admit: Callable[[Latest, tuple[str, ...]], tuple[str, ...]]

    def __str__(self) -> str:
        return self.name


always = Gate("always", lambda latest, players: players)
"""Every player updates."""


def worse_only(margin: float = 0.3, *, scale: Mapping[str, float] | None = None) -> Gate:
    """Update only the player with the greater loss; both within ``margin`` of each other.

    Losses are compared after ``scale``: a discriminator's loss is the sum of two cross entropies and a generator's is one, so
    the first counts half, and at the equilibrium both are ln 2. A G that logs ``cost/fooling`` is compared by that. The idea is
    the seed document's ("only update the current worst of the two networks").
    """
    weights = {"D": 0.5, "G": 1.0} if scale is None else scale

    def admit(latest: Latest, players: tuple[str, ...]) -> tuple[str, ...]:
        names = {p: FOOLING if p == "G" and FOOLING in latest else f"{p}/loss" for p in weights}
        losses = {p: w * float(latest[names[p]]) for p, w in weights.items() if names[p] in latest}
        worst = max(losses.values(), default=0.0)
        return tuple(p for p in players if losses.get(p, worst) >= worst - margin)

    return Gate(f"worse_only({margin:g})", admit)


def equilibrium(target: float = 0.68, margin: float = 0.35) -> Gate:
    """Skip D's update while D is too strong and G's while G is too weak; if both would be skipped, update both.

    D is too strong when its cost of either kind of sample, ``cost/real`` or ``cost/fake`` (the mean of -log of the probability
    given to the truth), is below target - margin. G is too weak when either is above target + margin. Other players always
    update, and all update until D has updated once. Larsen et al. 2016, arXiv:1512.09300, by their code
    (andersbll/autoencoding_beyond_pixels, model/aegan.py).

    The gate raises TrainingError where D has updated and logs no costs: its outputs are not logits, for example a critic's.
    """

    def admit(latest: Latest, players: tuple[str, ...]) -> tuple[str, ...]:
        costs = [float(latest[name]) for name in ("cost/real", "cost/fake") if name in latest]
        if len(costs) < 2:
            if "D/loss" in latest:
                raise TrainingError("the gate equilibrium needs cost/real and cost/fake, which this recipe's D does not log")
            return players
        skipped = {"D"} if min(costs) < target - margin else set()
        skipped |= {"G"} if max(costs) > target + margin else set()
        return tuple(p for p in players if p not in skipped or skipped == {"D", "G"})

    return Gate(f"equilibrium({target:g} +- {margin:g})", admit)


def loss_ratio(
    low: float = 0.1, high: float = 10.0, *, d_back: float = 0.5, g_back: float = 0.1, g_loss: str = "G/loss"
) -> Gate:
    """Skip D from L_D / L_G < ``low`` until > ``d_back``, and G from > ``high`` until < ``g_back``.

    The training program of DeePSiM and of PPGN, Nguyen et al. 2017, arXiv:1612.00005, decides so. Which player was skipped at
    the last update is read from ``rests/D`` and ``rests/G``, which the loop logs. ``g_loss`` names L_G among the logged
    scalars: the adversarial term, where G has others. L_G is ``cost/fooling`` where G logs it: in that program it is always D's
    loss on the fakes with the label of reals.
    """

    def admit(latest: Latest, players: tuple[str, ...]) -> tuple[str, ...]:
        name = FOOLING if FOOLING in latest else g_loss
        if "D/loss" not in latest or name not in latest:
            return players
        d, g = float(latest["D/loss"]), float(latest[name])
        rested = {p for p in ("D", "G") if f"rests/{p}" in latest and latest[f"rests/{p}"]}
        skipped = {"D"} if d < (d_back if "D" in rested else low) * g else set()
        skipped |= {"G"} if d > (g_back if "G" in rested else high) * g else set()
        return tuple(p for p in players if p not in skipped or skipped == {"D", "G"})

    return Gate(f"loss_ratio({low:g}, {high:g})", admit)


GATES: dict[str, Gate] = {
    "always": always,
    "worse-only": worse_only(),
    "equilibrium": equilibrium(),
    "loss-ratio": loss_ratio(),
}
"""The gates that the command line offers, by name."""
