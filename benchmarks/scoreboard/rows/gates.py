"""Rows of our own default, and of one game under each gate."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.measures import FEW_KID, Collapsed
from benchmarks.scoreboard.row import Protocol_, Row


def ours() -> Iterable[Row]:
    """The default recipe, as it is and gated."""
    gated: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("cdcgan_r1", "the default recipe", ()),
        ("cdcgan_r1_worse_only", "the same under the worse-only gate", ("--gate", "worse-only")),
    )
    for name, system, options in gated:
        yield Row(
            name=name,
            system=system,
            data="mnist5k",
            better="lower",
            full=Protocol_(recipe="cdcgan_r1", options=options, measure=FEW_KID, minutes=3),
            note="an idea without a figure: is the gated game no worse?" if options else "",
        )


def gates() -> Iterable[Row]:
    """The plain game under each gate: likeness and collapse."""
    systems = {
        "always": "everyone moves",
        "worse-only": "only the worse moves",
        "equilibrium": "D rests while too good, G while too bad",
        "loss-ratio": "whoever is ten times ahead rests",
    }
    for gate, system in systems.items():
        for suffix, what, measure in (("", "", FEW_KID), ("_collapse", ", collapse rate", Collapsed())):
            yield Row(
                name=f"gate_{gate.replace('-', '_')}{suffix}",
                system=f"Gate: {system}{what}",
                data="mnist",
                better="lower",
                is_share=bool(suffix),
                full=Protocol_(recipe="vanilla", steps=10_000, options=("--gate", gate), measure=measure, seeds=5, minutes=2),
            )
