"""Rows of R3GAN, the modern baseline, and of StackedMNIST."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import Above, AtLeast, Claim
from benchmarks.scoreboard.measures import FEW_KID, Scored
from benchmarks.scoreboard.row import HIGHER, LOWER, Protocol, PublishedFigure, Row

STACKED = 26_000
"""Samples in which StackedMNIST's modes are counted."""


def stacked() -> Iterable[Row]:
    """Modes of 1,000."""
    on = ("--data", "stackedmnist")
    modes, kl = Scored(name="modes", samples=STACKED), Scored(name="reverse-kl", samples=STACKED)
    yield Row(
        name="dcgan64_stacked",
        system="DCGAN, modes of 1,000",
        data="stackedmnist at 64",
        better="higher",
        published=(
            PublishedFigure(figure="99", source="VEEGAN's table in arXiv:1712.04086, table 2"),
            PublishedFigure(figure="78.9 ± 6.46", source="arXiv:1712.04086, table 2"),
        ),
        needs_gpu=True,
        full=Protocol(recipe="dcgan64", options=(*on, "--size", "64"), measure=modes, minutes=60),
    )
    table, small = "arXiv:2501.05441, table 3", "the same, table 1, a smaller net"
    note = "a perfect generator's KL is .0193 with 26,000 samples; the paper names no count"
    for name, measure, direction, figures in (
        ("r3gan_modes", modes, HIGHER, ("1000", "1000")),
        ("r3gan_kl", kl, LOWER, (".029", ".0781")),
    ):
        yield Row(
            name=name,
            system=f"R3GAN, {measure.name} of 1,000",
            data="stackedmnist",
            better=direction,
            published=tuple(PublishedFigure(figure=f, source=s) for f, s in zip(figures, (table, small), strict=True)),
            full=Protocol(recipe="r3gan", measure=measure, seeds=1, minutes=1200),
            scaled=Protocol(recipe="r3gan_small", options=on, measure=measure, seeds=1, minutes=60),
            note=note,
        )


def plain() -> Iterable[Row]:
    """R3GAN's game on plain convolutions, and its twin with the first GAN's losses."""
    modes = Scored(name="modes", samples=STACKED)
    covers = Claim(system="R3GAN", text="all modes of StackedMNIST", bar=AtLeast(990))
    more = Claim(system="R3GAN", text="relativistic pairs cover more modes", bar=Above("gan_r1_r2_plain"))
    for name, recipe, system, claim in (
        ("r3gan_plain", "r3gan_plain", "R3GAN on plain convolutions", covers),
        ("r3gan_plain_pairs", "r3gan_plain", "R3GAN on plain convolutions, beside the first losses", more),
        ("gan_r1_r2_plain", "gan_r1_r2_plain", "The first GAN's losses with R1 and R2", None),
    ):
        yield Row(
            name=name,
            system=f"{system}, modes of 1,000",
            data="stackedmnist",
            better="higher",
            full=Protocol(recipe=recipe, measure=modes, claim=claim, minutes=20),
            note="nets of our own; 640,000 reals instead of ten million",
        )


def small() -> Iterable[Row]:
    """R3GAN in the size for two cores, on grey images."""
    for data in ("mnist", "fashion-mnist"):
        yield Row(
            name=f"r3gan_{data.replace('-', '_')}",
            system="R3GAN, small",
            data=data,
            better="lower",
            full=Protocol(recipe="r3gan_small", options=("--data", data), measure=FEW_KID, seeds=1, minutes=15),
            note="a size of our own; the paper has neither",
        )
