"""Rows of games that draw an image level by level: LAPGAN and the progressive GAN."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import Above, AtLeast, Below, Claim
from benchmarks.scoreboard.measures import FEW_KID, KID, Examined, Scored
from benchmarks.scoreboard.row import Protocol, PublishedFigure, Row
from benchmarks.scoreboard.rows.modern import STACKED
from benchmarks.scoreboard.stages import StepsTo


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


def details() -> Iterable[Row]:
    """What LAPGAN's highest level adds."""
    sharper = Claim(system="LAPGAN", text="samples sharper than the level below, enlarged", bar=AtLeast(1.5))
    measure = Examined(name="sharpness-gain")
    yield Row(
        name="lapgan_sharpness",
        system="LAPGAN, Laplacian energy at 28 over that of 14, enlarged",
        data="mnist",
        better="higher",
        full=Protocol(recipe="lapgan", measure=measure, claim=sharper, minutes=40),
        scaled=Protocol(recipe="lapgan_small", measure=measure, claim=sharper, minutes=15),
        note="real digits' own gain is stored next to it; the run is that of the row lapgan",
    )


def paces() -> Iterable[Row]:
    """Steps to a KID, growing and at full size from the start."""
    sooner = Claim(system="progressive GAN", text="as good sooner by growing", bar=Below("progan_whole_steps"))
    for recipe, system, claim in (
        ("progan", "Progressive GAN, steps to a KID of .1", sooner),
        ("progan_whole", "The same at full size from the start", None),
    ):
        yield Row(
            name=f"{recipe}_steps",
            system=system,
            data="mnist at 32",
            better="lower",
            full=Protocol(
                recipe=f"{recipe}_small",
                measure=StepsTo(kid=0.1),
                options=("--data", "mnist", "--size", "32"),
                claim=claim,
                minutes=20 if claim else 35,
            ),
            note="a small size of our own on MNIST, which has a KID; the paper's figure is a time, and its steps at low sizes "
            "are cheap ones, too",
        )


def growing() -> Iterable[Row]:
    """The progressive GAN with minibatch standard deviation and without, and its published sizes."""
    modes = Scored(name="modes", samples=STACKED)
    table = "arXiv:1710.10196, table 4, as arXiv:2501.05441 quotes it in footnote 3"
    more = Claim(
        system="progressive GAN",
        text="minibatch standard deviation covers more modes where D is small",
        bar=Above("progan_no_deviation"),
    )
    for suffix, what, figure, claim in (
        ("", "with minibatch standard deviation", "881", more),
        ("_no_deviation", "without minibatch standard deviation", "857", None),
    ):
        yield Row(
            name=f"progan{suffix}",
            system=f"Progressive GAN {what}, small D, modes of 1,000",
            data="stackedmnist at 32",
            better="higher",
            published=(PublishedFigure(figure=figure, source=table),),
            full=Protocol(recipe=f"progan{suffix}_small", measure=modes, claim=claim, minutes=20),
            note="a small size of our own; the published figures are of another small D and longer runs",
        )
    yield Row(
        name="progan_published",
        system="Progressive GAN, its published sizes, modes of 1,000",
        data="stackedmnist at 32",
        better="higher",
        needs_gpu=True,
        full=Protocol(recipe="progan", measure=modes, seeds=1, minutes=600),
    )
