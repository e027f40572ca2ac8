"""Rows of systems that change a given picture."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import Between, Claim, NotBelow
from benchmarks.scoreboard.measures import Examined
from benchmarks.scoreboard.row import Direction, Protocol, Row


def pictures() -> Iterable[Row]:
    """pix2pix from edges to digits, and its U-Net by L1 alone."""
    sharp = Claim(system="pix2pix", text="as sharp as real digits", bar=Between(0.9, 1.1))
    right = Claim(system="pix2pix", text="at no loss of classifier accuracy", bar=NotBelow("pix2pix_l1_accuracy", 0.005))
    figures: tuple[tuple[str, str, Direction], ...] = (
        ("sharpness", "Laplacian energy over that of real digits", "nearer"),
        ("accuracy", "class of the digit whose edges are given", "higher"),
    )
    for recipe, system, claims in (
        ("pix2pix", "pix2pix, edges to digits", {"sharpness": sharp, "accuracy": right}),
        ("pix2pix_l1", "The same U-Net by L1 alone", {}),
    ):
        for measure, words, better in figures:
            yield Row(
                name=f"{recipe}_{measure}",
                system=f"{system}, {words}",
                data="mnist",
                better=better,
                is_share=measure == "accuracy",
                full=Protocol(recipe=f"{recipe}_small", measure=Examined(name=measure), claim=claims.get(measure), minutes=15),
                note="a task and a size of our own; the paper has neither",
            )
