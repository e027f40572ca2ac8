"""Rows of games with several players of a kind."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import Below, Claim
from benchmarks.scoreboard.measures import FEW_KID, Against
from benchmarks.scoreboard.row import Protocol, PublishedFigure, Row
from benchmarks.scoreboard.rows.critics import EARLY

GMAN = {"gman": ".127", "gman_mean": ".007", "gman_max": "-.034", "gman_one": "-.122"}
"""Recipe to the published sum of its GMAMs over the others."""


def several() -> Iterable[Row]:
    """GMAN's four games, each against the other three."""
    for recipe, figure in GMAN.items():
        yield Row(
            name=recipe,
            system=f"GMAN ({recipe.removeprefix('gman').removeprefix('_') or 'learned'}), GMAM summed over the other three",
            data="mnist",
            better="higher",
            published=(PublishedFigure(figure=figure, source="arXiv:1611.01673, table 1"),),
            full=Protocol(recipe=recipe, measure=_against(recipe, ""), minutes=30),
            scaled=Protocol(recipe=f"{recipe}_small", measure=_against(recipe, "_small"), seeds=1, minutes=40),
        )


def together() -> Iterable[Row]:
    """GMAN's games by KID: several discriminators against one."""
    for recipe in GMAN:
        claim = None
        if recipe in ("gman", "gman_mean"):
            claim = Claim(system="GMAN", text="several discriminators are better than one", bar=Below("gman_one_kid"))
        yield Row(
            name=f"{recipe}_kid",
            system=f"GMAN ({recipe.removeprefix('gman').removeprefix('_') or 'learned'})",
            data="mnist",
            better="lower",
            full=Protocol(recipe=f"{recipe}_small", measure=FEW_KID, claim=claim, minutes=15),
            scaled=Protocol(recipe=f"{recipe}_small", steps=EARLY, measure=FEW_KID, claim=claim, minutes=5),
        )


def generators() -> Iterable[Row]:
    """Two generators against two discriminators, and one pair of the same nets."""
    better = Claim(system="several generators", text="several pairs are better than one", bar=Below("single_generator"))
    for recipe, system, claim in (
        ("several_generators", "Two generators against two discriminators", better),
        ("single_generator", "One generator against one discriminator of the same nets", None),
    ):
        yield Row(
            name=recipe,
            system=system,
            data="mnist",
            better="lower",
            full=Protocol(recipe=recipe, measure=FEW_KID, claim=claim, minutes=10),
            scaled=Protocol(recipe=recipe, steps=EARLY, measure=FEW_KID, claim=claim, minutes=5),
            note="no paper prints a figure for this game",
        )


def _against(recipe: str, size: str) -> Against:
    others = tuple(f"{other}{size}" for other in GMAN if other != recipe)
    return Against(opponents=others, lambdas={f"gman_max{size}": "inf"}, own="inf" if recipe == "gman_max" else None)
