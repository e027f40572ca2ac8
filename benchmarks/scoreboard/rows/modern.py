"""Rows of R3GAN, the modern baseline, and of StackedMNIST."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.measures import FEW_KID, Scored
from benchmarks.scoreboard.row import HIGHER, LOWER, Protocol_, Published, Row

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
            Published(figure="99", source="VEEGAN's table in arXiv:1712.04086, table 2"),
            Published(figure="78.9 ± 6.46", source="arXiv:1712.04086, table 2"),
        ),
        needs_gpu=True,
        full=Protocol_(recipe="dcgan64", options=(*on, "--size", "64"), measure=modes, minutes=60),
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
            published=tuple(Published(figure=f, source=s) for f, s in zip(figures, (table, small), strict=True)),
            full=Protocol_(recipe="r3gan", measure=measure, seeds=1, minutes=1200),
            scaled=Protocol_(recipe="r3gan_small", options=on, measure=measure, seeds=1, minutes=60),
            note=note,
        )


def small() -> Iterable[Row]:
    """R3GAN in the size for two cores, on grey images."""
    for data in ("mnist", "fashion-mnist"):
        yield Row(
            name=f"r3gan_{data.replace('-', '_')}",
            system="R3GAN, small",
            data=data,
            better="lower",
            full=Protocol_(recipe="r3gan_small", options=("--data", data), measure=FEW_KID, seeds=1, minutes=15),
            note="a size of our own; the paper has neither",
        )
