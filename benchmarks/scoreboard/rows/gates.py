"""Rows of our own default, and of two games under each gate."""

from __future__ import annotations

import math
from collections.abc import Iterable

from benchmarks.scoreboard.claims import AtMost, Below, Between, Claim
from benchmarks.scoreboard.measures import FEW_KID, Collapsed, Logged
from benchmarks.scoreboard.row import Protocol, Row


def ours() -> Iterable[Row]:
    """The default recipe, as it is and gated."""
    gated: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("cdcgan_r1", "the default recipe", ()),
        ("cdcgan_r1_worse_only", "the same under the worse-only gate", ("--gate", "worse-only")),
    )
    ours = Claim(system="the default recipe", text="digits from 5,000 images", bar=AtMost(0.03))
    for name, system, options in gated:
        yield Row(
            name=name,
            system=system,
            data="mnist5k",
            better="lower",
            full=Protocol(recipe="cdcgan_r1", options=options, measure=FEW_KID, claim=None if options else ours, minutes=3),
            note="an idea without a figure: is the gated game no worse?" if options else "",
        )


SYSTEMS = {
    "always": "every player is updated",
    "worse-only": "only the worse player is updated",
    "equilibrium": "D rests while too good, G while too bad",
    "loss-ratio": "a player that is ten times ahead rests",
}
KNOWS_NOTHING = 2 * math.log(2)
"""Loss of a D that gives everything one half. A D whose loss is greater is overpowered by G."""


def balance() -> Iterable[Row]:
    """A game that D wins, the zero-sum form of the first GAN, under each gate: D's loss at its end."""
    bar = Between(round(KNOWS_NOTHING / 10, 3), round(KNOWS_NOTHING, 3))
    for gate, system in SYSTEMS.items():
        balanced = Claim(
            system=f"the gate {gate}", text=f"{gate} leaves no player overpowered where D wins without it", bar=bar
        )
        yield Row(
            name=f"gate_{gate.replace('-', '_')}_balance",
            system=f"Gate: {system}, D's loss in the zero-sum game",
            data="mnist",
            better="nearer",
            full=Protocol(
                recipe="vanilla_minimax",
                options=("--gate", gate),
                measure=Logged(name="D/loss"),
                claim=None if gate == "always" else balanced,
                minutes=1,
            ),
            note="the bar: from a tenth of the loss of a D that knows nothing, 2 ln 2, to all of it; pictures are not judged",
        )


def gates() -> Iterable[Row]:
    """A game whose D is ahead, five updates for each of G's, under each gate: KID and collapse."""
    for gate, system in SYSTEMS.items():
        for suffix, what, measure in (("", "", FEW_KID), ("_collapse", ", collapse rate", Collapsed())):
            claim = None
            if gate != "always" and not suffix:
                helps = Below("gate_always", share=1.05)
                claim = Claim(system=f"the gate {gate}", text="no worse than without a gate where D is ahead", bar=helps)
            yield Row(
                name=f"gate_{gate.replace('-', '_')}{suffix}",
                system=f"Gate: {system}{what}",
                data="mnist",
                better="lower",
                is_share=bool(suffix),
                full=Protocol(recipe="vanilla_d5", options=("--gate", gate), measure=measure, claim=claim, minutes=3),
            )
