"""Rows of our own default, and of one game under each gate."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import AtMost, Below, Claim
from benchmarks.scoreboard.measures import FEW_KID, Collapsed
from benchmarks.scoreboard.row import Protocol, Row


def ours() -> Iterable[Row]:
    """The default recipe, as it is and gated."""
    gated: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("cdcgan_r1", "the default recipe", ()),
        ("cdcgan_r1_worse_only", "the same under the worse-only gate", ("--gate", "worse-only")),
    )
    ours = Claim(system="the default recipe", text="digits in two minutes", bar=AtMost(0.03))
    for name, system, options in gated:
        yield Row(
            name=name,
            system=system,
            data="mnist5k",
            better="lower",
            full=Protocol(recipe="cdcgan_r1", options=options, measure=FEW_KID, claim=None if options else ours, minutes=3),
            note="an idea without a figure: is the gated game no worse?" if options else "",
        )


def gates() -> Iterable[Row]:
    """A game whose D is ahead, five updates for each of G's, under each gate: KID and collapse."""
    systems = {
        "always": "every player is updated",
        "worse-only": "only the worse player is updated",
        "equilibrium": "D rests while too good, G while too bad",
        "loss-ratio": "a player that is ten times ahead rests",
    }
    for gate, system in systems.items():
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
