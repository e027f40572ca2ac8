"""The scoreboard's rows as data: what was published, and how it is measured here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from training.scoreboard.measures import Against, Examined, Follows, Logged, Measure, Reconstructed, Scored

Direction = Literal["higher", "lower", "nearer"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A figure that somebody printed."""

    figure: str
    """As printed, with its spread."""
    source: str
    """Where."""
    is_verified: bool = True
    """Whether it was read there; False means that it is quoted from memory and may be wrong."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """One way of running a row: on the full sizes, or scaled down to what a CPU does in reasonable time."""

    recipe: str
    """A name of the catalogue; it may not be built yet."""
    measure: Measure
    steps: int | None = None
    """Training steps; None is the recipe's own number."""
    options: tuple[str, ...] = ()
    """Further options of ``train``."""
    seeds: int = 3
    minutes: float
    """About how long a seed takes, of one H200 for what is full, of two cores for what is scaled."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    """Of its results' file."""
    system: str
    data: str
    better: Direction
    published: tuple[Published, ...] = ()
    """Empty where nobody printed a number for this."""
    full: Effort
    scaled: Effort | None = None
    """None: the full effort is small enough for a CPU."""
    is_share: bool = False
    """Whether the figure is a share, shown in per cent."""
    note: str = ""
    """What a reader has to know to compare."""


KID = Scored(name="kid")
FEW_KID = Scored(name="kid", samples=2_000)
PARZEN = Scored(name="parzen")
NEAREST = Scored(name="1nn-error", nearest=50_000)
STACKED = 26_000
POINTS = 2_500
"""Points that PacGAN's synthetic experiments draw."""
GOODFELLOW = Published(figure="225 ± 2", source="arXiv:1406.2661, table 1, its own larger net")
GMAN_RECIPES = ("gman_mean", "gman_max", "gman_learned")
LUCIC = "FIDs of arXiv:1711.10337 are Inception's and not comparable"


def _toys() -> Iterable[Row]:
    points = Scored(name="w1")
    for recipe, note in (("toy1d", "without"), ("toy1d_minibatch", "with")):
        yield Row(
            name=recipe,
            system=f"1-D toy, {note} minibatch discrimination",
            data="gaussian1d",
            better="lower",
            full=Effort(recipe=recipe, measure=points, seeds=20, minutes=0.5),
            note="the blog shows plots only",
        )
    yield Row(
        name="parabola",
        system="2-D parabola",
        data="parabola",
        better="lower",
        full=Effort(recipe="parabola", measure=Scored(name="sliced-w2"), minutes=5),
    )
    table = "arXiv:1712.04086, table 1"
    for data, modes, gan, pac in (
        ("ring8", 8, "6.3 ± .5", "7.9 ± .1 (two packed)"),
        ("grid25", 25, "17.3 ± .8", "24.8 ± .2 (four packed)"),
    ):
        for recipe, system, figure in (("gan", "GAN", gan), ("pacgan", "PacGAN", pac)):
            yield Row(
                name=f"{recipe}_{data}",
                system=f"{system}, {modes} Gaussians",
                data=data,
                better="higher",
                published=(Published(figure=f"{figure} of {modes} modes", source=table),),
                full=Effort(recipe=f"{recipe}_{data}", measure=Scored(name="modes", samples=POINTS), minutes=40),
                scaled=Effort(
                    recipe=f"{recipe}_{data}", steps=20_000, minutes=10, measure=Scored(name="modes", samples=POINTS)
                ),
            )


def _first() -> Iterable[Row]:
    yield Row(
        name="vanilla",
        system="GAN, 100-128-784",
        data="mnist",
        better="higher",
        published=(GOODFELLOW,),
        full=Effort(recipe="vanilla", measure=PARZEN, minutes=15),
        note="the last step, not the best",
    )
    tutorial = "ReNom's tutorial, epoch 30 of one run"
    for part, figure in (("real", ".745"), ("fake", ".870")):
        yield Row(
            name=f"renom_{part}",
            system=f"ReNom's maxout GAN, D's accuracy on {part}",
            data="mnist50k",
            better="nearer",
            published=(Published(figure=figure, source=tutorial),),
            full=Effort(recipe="renom", measure=Logged(name=f"accuracy/{part}"), minutes=16),
        )
    yield Row(
        name="dcgan",
        system="DCGAN",
        data="mnist",
        better="lower",
        full=Effort(recipe="dcgan", measure=KID, minutes=10),
        scaled=Effort(recipe="dcgan", measure=FEW_KID, steps=4_000, seeds=1, minutes=15),
    )
    yield Row(
        name="least_squares",
        system="Least-squares GAN",
        data="mnist",
        better="lower",
        full=Effort(recipe="least_squares", measure=KID, minutes=10),
        scaled=Effort(recipe="least_squares", measure=FEW_KID, steps=4_000, seeds=1, minutes=15),
        note=LUCIC,
    )


def _labelled() -> Iterable[Row]:
    table = "arXiv:1511.06434, table 3"
    yield Row(
        name="cdcgan",
        system="Conditional DCGAN, 1-NN error",
        data="mnist",
        better="lower",
        is_share=True,
        published=(
            Published(figure="2.98 % (50,000 samples)", source=table, is_verified=False),
            Published(figure="6.28 % (GAN), 3.1 % (real data)", source=table, is_verified=False),
        ),
        full=Effort(recipe="cdcgan", measure=NEAREST, minutes=30),
        scaled=Effort(recipe="cdcgan_small", measure=Scored(name="1nn-error"), minutes=5),
    )
    yield Row(
        name="cgan",
        system="Conditional GAN",
        data="mnist",
        better="higher",
        published=(
            Published(figure="132 ± 1.8", source="arXiv:1411.1784, table 1", is_verified=False),
            Published(figure="283.03 ± 2.15", source="MindSpore's models, research/cv/CGAN"),
        ),
        full=Effort(recipe="cgan", measure=PARZEN, minutes=20),
        scaled=Effort(recipe="cgan_small", measure=PARZEN, minutes=5),
    )
    yield Row(
        name="infogan",
        system="InfoGAN, error of its code",
        data="mnist",
        better="lower",
        is_share=True,
        published=(Published(figure="5 %", source="arXiv:1606.03657, section 7.2"),),
        full=Effort(recipe="infogan", measure=Examined(name="code-error"), seeds=5, minutes=5),
        scaled=Effort(recipe="infogan_small", measure=Examined(name="code-error"), minutes=8),
    )
    source = "arXiv:1606.03498, table 1, mean of ten subsets"
    for labels, recipe, figure in (
        (20, "salimans_20", "1677 ± 452"),
        (100, "salimans", "93 ± 6.5"),
        (200, "salimans_200", "90 ± 4.2"),
    ):
        yield Row(
            name=recipe,
            system=f"Salimans, {labels} labels, errors of 10,000",
            data="mnist",
            better="lower",
            published=(Published(figure=figure, source=source),),
            full=Effort(recipe=recipe, measure=Examined(name="errors"), seeds=5, minutes=20),
            scaled=Effort(recipe="salimans_small", measure=Examined(name="errors"), seeds=1, minutes=5)
            if recipe == "salimans"
            else None,
        )


def _critics() -> Iterable[Row]:
    claim = "figures only; our bar is .9"
    for recipe, system, minutes in (("wgan", "WGAN", 20), ("wgan_gp", "WGAN-GP", 60)):
        follows = Follows(scalar="D/loss", sign=-1)
        few = Follows(scalar="D/loss", sign=-1, samples=2_000)
        yield Row(
            name=recipe,
            system=f"{system}, critic's loss and KID",
            data="mnist",
            better="higher",
            note=claim,
            full=Effort(recipe=recipe, measure=follows, minutes=minutes),
            scaled=Effort(recipe=f"{recipe}_small", measure=few, seeds=1, minutes=30),
        )
    for recipe, system in (("ebgan", "EBGAN"), ("ebgan_pt", "EBGAN-PT")):
        yield Row(
            name=recipe,
            system=system,
            data="mnist",
            better="lower",
            note="its paper prints histograms only",
            full=Effort(recipe=recipe, measure=KID, minutes=10),
            scaled=Effort(recipe=recipe, measure=FEW_KID, steps=4_000, seeds=1, minutes=10),
        )
    for recipe, system in (("ls_gan", "LS-GAN"), ("gls_gan", "GLS-GAN")):
        yield Row(
            name=recipe,
            system=f"{system}, reconstruction error",
            data="mnist",
            better="lower",
            note="no figure of its author's for MNIST",
            full=Effort(recipe=recipe, measure=Reconstructed(), minutes=15),
            scaled=Effort(recipe=recipe, measure=Reconstructed(images=100), steps=3_000, seeds=1, minutes=20),
        )


def _several() -> Iterable[Row]:
    source = "arXiv:1611.01673, table 1, summed over four opponents, a GAN with the modified loss among them"
    lambdas = {"gman_max": "inf"}
    for recipe, figure in zip(GMAN_RECIPES, (".007", "-.034", ".127"), strict=True):
        measure = Against(
            opponents=tuple(other for other in GMAN_RECIPES if other != recipe), lambdas=lambdas, own=lambdas.get(recipe, "0")
        )
        yield Row(
            name=recipe,
            system=f"GMAN, {recipe.removeprefix('gman_')}, GMAM",
            data="mnist",
            better="higher",
            published=(Published(figure=figure, source=source),),
            note="summed over the other two",
            full=Effort(recipe=recipe, measure=measure, minutes=30),
            scaled=Effort(recipe=recipe, measure=measure, steps=1_500, seeds=1, minutes=40),
        )
    yield Row(
        name="vaegan",
        system="VAEGAN",
        data="mnist",
        better="lower",
        note="no figure for MNIST",
        full=Effort(recipe="vaegan", measure=KID, minutes=15),
        scaled=Effort(recipe="vaegan", measure=FEW_KID, steps=4_000, seeds=1, minutes=15),
    )


def _stacked() -> Iterable[Row]:
    on = ("--data", "stackedmnist", "--size", "64")
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
        full=Effort(recipe="dcgan64", options=on, measure=modes, minutes=60),
    )
    table = "arXiv:2501.05441, table 1, its small net"
    note = "a perfect generator's KL is .0193 with 26,000 samples"
    directions: dict[str, Direction] = {"modes": "higher", "reverse-kl": "lower"}
    for name, measure, figure in (("r3gan_modes", modes, "1000"), ("r3gan_kl", kl, ".0781")):
        yield Row(
            name=name,
            system=f"R3GAN, {measure.name} of 1,000",
            data="stackedmnist",
            better=directions[measure.name],
            published=(Published(figure=figure, source=table),),
            note=note,
            full=Effort(recipe="r3gan_small", options=("--data", "stackedmnist"), measure=measure, minutes=120),
        )


def _ours() -> Iterable[Row]:
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
            full=Effort(recipe="cdcgan_r1", options=options, measure=FEW_KID, minutes=3),
            note="an idea without a figure: is the gated game no worse?" if options else "",
        )


ROWS: tuple[Row, ...] = (*_toys(), *_first(), *_labelled(), *_critics(), *_several(), *_stacked(), *_ours())
"""Every row, in the order of the page."""
