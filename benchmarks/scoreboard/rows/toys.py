"""Rows of games in one and two dimensions."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import Above, AtLeast, AtMost, Bar, Below, Claim
from benchmarks.scoreboard.measures import Measure, Scored, WhereFound
from benchmarks.scoreboard.row import Direction, Protocol, PublishedFigure, Row
from training.data.toys import DEVIATION, MEAN

POINTS = 2_500
"""Points that PacGAN's synthetic experiments draw."""


def toys() -> Iterable[Row]:
    """Lines, curves and mixtures."""
    points = Scored(name="w1")
    lowers = Claim(
        system="minibatch discrimination",
        text="it brings the toy nearer to its data",
        bar=Below("toy1d"),
    )
    for recipe, note in (("toy1d", "without"), ("toy1d_minibatch", "with")):
        claim = lowers if recipe == "toy1d_minibatch" else None
        yield Row(
            name=recipe,
            system=f"1-D toy, {note} minibatch discrimination",
            data="gaussian1d",
            better="lower",
            full=_together(recipe, points, claim),
            note="the blog shows plots only",
        )
    yield from _deviations()
    yield from _squares()
    for recipe, system, distance in (("parabola", "2-D parabola", 150), ("parabola_norm", "2-D parabola within [-1,1]", 0.12)):
        yield Row(
            name=recipe,
            system=system,
            data=recipe.replace("_", "-"),
            better="lower",
            full=Protocol(
                recipe=recipe,
                measure=Scored(name="sliced-w2"),
                are_together=recipe == "parabola_norm",
                claim=Claim(system="2-D GAN", text="samples are spread over the curve as the data is", bar=AtMost(distance)),
                minutes=5,
            ),
            note="the bar is 6 % of the range of y",
        )
    on: tuple[tuple[str, Direction, str, Bar], ...] = (
        ("curve-distance", "lower", "samples follow the curve", AtMost(0.06)),
        ("x-coverage", "higher", "samples cover the curve from end to end", AtLeast(18)),
    )
    for measure, better, text, bar in on:
        yield Row(
            name=f"parabola_norm_{measure.replace('-', '_')}",
            system=f"2-D parabola within [-1,1], {measure}",
            data="parabola-norm",
            better=better,
            full=Protocol(
                recipe="parabola_norm",
                measure=Scored(name=measure),
                seeds=40,
                are_together=True,
                claim=Claim(system="2-D GAN", text=text, bar=bar),
                minutes=1,
            ),
            note="stated when a picture of 3 of the 40 seeds had been seen",
        )
    table = "arXiv:1712.04086, table 1"
    for recipe, system, data, figure in (
        ("gan_ring8", "GAN, 8 Gaussians", "ring8", "6.3 ± .5 of 8"),
        ("pacgan2_ring8", "PacGAN of 2, 8 Gaussians", "ring8", "7.9 ± .1 of 8"),
        ("gan_grid25", "GAN, 25 Gaussians", "grid25", "17.3 ± .8 of 25"),
        ("pacgan4_grid25", "PacGAN of 4, 25 Gaussians", "grid25", "24.8 ± .2 of 25"),
    ):
        modes = Scored(name="modes", samples=POINTS)
        twin = f"gan_{data}"
        claim = None if recipe == twin else Claim(system="PacGAN", text="packing finds more modes", bar=Above(twin))
        yield Row(
            name=recipe,
            system=f"{system}, modes",
            data=data,
            better="higher",
            published=(PublishedFigure(figure=figure, source=table),),
            full=Protocol(recipe=recipe, measure=modes, seeds=10, claim=claim, minutes=30),
            scaled=Protocol(recipe=f"{recipe}_small", measure=modes, claim=claim, minutes=20),
        )


def _squares() -> Iterable[Row]:
    """Mao's comparison of least squares with the first GAN's losses, by the modes that their paper shows in pictures."""
    twin = "cross_entropy_ring8"
    learns = Claim(system="least squares", text="learns the mixture where cross entropy collapses", bar=Above(twin))
    for recipe, system, claim in ((twin, "Cross entropy", None), ("least_squares_ring8", "Least squares", learns)):
        yield Row(
            name=recipe,
            system=f"{system} on Mao's nets, 8 Gaussians, modes",
            data="ring8",
            better="higher",
            note="its paper shows pictures only",
            full=Protocol(recipe=recipe, measure=Scored(name="modes", samples=POINTS), seeds=5, claim=claim, minutes=4),
        )


def _deviations() -> Iterable[Row]:
    """How wide the samples of the 1-D toy are: in all games, and in those of its first program that find the data."""
    every, narrow = Scored(name="sd"), AtMost(0.45)
    narrower = Claim(system="1-D toy", text="its samples are narrower than its data", bar=narrow)
    yield _deviation(
        name="toy1d_narrow",
        system="1-D toy as its authors wrote it",
        protocol=_together("toy1d_clamped", every, narrower),
        note="the blog shows plots only; stated before a run of this recipe, when the deviations of toy1d had been seen",
    )
    yield _deviation(
        name="toy1d_narrow_exact",
        system="1-D toy with exact logarithms",
        protocol=_together("toy1d", every, narrower, first_seed=40),
        note="the bar of toy1d_narrow; other seeds than 0 to 39, whose median, .40, was known",
    )
    found, where = WhereFound(name="sd", mean=MEAN, within=2 * DEVIATION), "where G finds the data"
    first = Claim(system="1-D toy", text=f"{where}, its samples are narrower", bar=narrow)
    wider = Claim(
        system="minibatch discrimination", text=f"{where}, its samples are wider with it", bar=Above("toy1d_fitted", "median")
    )
    for recipe, text, claim in (("toy1d_fitted", "without", first), ("toy1d_minibatch_fitted", "with", wider)):
        yield _deviation(
            name=recipe,
            system=f"1-D toy's first program, {text} minibatch discrimination",
            protocol=_together(recipe, found, claim),
            note="stated before a run of this recipe, when a loop of its own had shown .26 and .43 in the median of 400 games",
        )


def _deviation(*, name: str, system: str, protocol: Protocol, note: str) -> Row:
    return Row(
        name=name, system=f"{system}, deviation of its samples", data="gaussian1d", better="nearer", full=protocol, note=note
    )


def _together(recipe: str, measure: Measure, claim: Claim | None, *, first_seed: int = 0) -> Protocol:
    """Forty seeds of a small game at once."""
    return Protocol(
        recipe=recipe, measure=measure, seeds=40, first_seed=first_seed, are_together=True, claim=claim, minutes=0.1
    )
