"""Rows of games that draw an image level by level: LAPGAN and the progressive GAN."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import Below, Claim
from benchmarks.scoreboard.measures import FEW_KID, KID
from benchmarks.scoreboard.row import Protocol, Row


def pyramids() -> Iterable[Row]:
    """LAPGAN and the GAN of one scale with as many weights."""
    better = Claim(system="LAPGAN", text="better samples than one scale with as many weights", bar=Below("lapgan_single"))
    for recipe, system, claim in (
        ("lapgan", "LAPGAN, 7 to 14 to 28", better),
        ("lapgan_single", "One scale with LAPGAN's lowest nets and as many weights", None),
    ):
        yield Row(
            name=recipe,
            system=system,
            data="mnist",
            better="lower",
            full=Protocol(recipe=recipe, measure=KID, claim=claim, minutes=40 if claim else 20),
            scaled=Protocol(recipe=f"{recipe}_small", measure=FEW_KID, claim=claim, minutes=15 if claim else 5),
            note="the paper has a likelihood of CIFAR-10 and STL, and human eyes",
        )
