"""The scoreboard's rows as data: what was published, and how it is measured here."""

from __future__ import annotations

from collections.abc import Iterable

from training.scoreboard.measures import Against, Collapsed, Examined, Follows, Logged, Reconstructed, Scored
from training.scoreboard.row import HIGHER, LOWER, Effort, Published, Row

KID = Scored(name="kid")
FEW_KID = Scored(name="kid", samples=2_000)
PARZEN = Scored(name="parzen")
NEAREST = Scored(name="1nn-error", nearest=50_000)
STACKED = 26_000
POINTS = 2_500
"""Points that PacGAN's synthetic experiments draw."""
GOODFELLOW = Published(figure="225 ± 2", source="arXiv:1406.2661, table 1, its own larger net")
GMAN = {"gman": ".127", "gman_mean": ".007", "gman_max": "-.034", "gman_one": "-.122"}
"""Recipe to the published sum of its GMAMs over the others."""
LOSS_SENSITIVE = (("dcgan", "DCGAN"), ("ls_gan", "LS-GAN"), ("gls_gan", "GLS-GAN"))
"""Recipes on the same nets, and their names: DCGAN is what the others have to beat."""
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
    for recipe, system, data, figure in (
        ("gan_ring8", "GAN, 8 Gaussians", "ring8", "6.3 ± .5 of 8"),
        ("pacgan2_ring8", "PacGAN of 2, 8 Gaussians", "ring8", "7.9 ± .1 of 8"),
        ("gan_grid25", "GAN, 25 Gaussians", "grid25", "17.3 ± .8 of 25"),
        ("pacgan4_grid25", "PacGAN of 4, 25 Gaussians", "grid25", "24.8 ± .2 of 25"),
    ):
        modes = Scored(name="modes", samples=POINTS)
        yield Row(
            name=recipe,
            system=f"{system}, modes",
            data=data,
            better="higher",
            published=(Published(figure=figure, source=table),),
            full=Effort(recipe=recipe, measure=modes, seeds=10, minutes=30),
            scaled=Effort(recipe=f"{recipe}_small", measure=modes, minutes=20),
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
        scaled=Effort(recipe="least_squares_small", measure=FEW_KID, seeds=1, minutes=15),
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
        scaled=Effort(recipe="cdcgan", steps=20 * 234, measure=NEAREST, seeds=1, minutes=45),
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
        note="scaled to a 25th of its length, z is drowned by the noise of G's dropout: one picture a class",
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
        (50, "salimans_50", "221 ± 136"),
        (100, "salimans", "93 ± 6.5"),
        (200, "salimans_200", "90 ± 4.2"),
    ):
        yield Row(
            name=recipe,
            system=f"Salimans, {labels} labels, errors of 10,000",
            data="mnist",
            better="lower",
            published=(Published(figure=figure, source=source, is_verified=labels != 50),),
            needs_gpu=recipe != "salimans",
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
    for recipe, system in LOSS_SENSITIVE:
        yield Row(
            name=f"{recipe}_mre",
            system=f"{system}, reconstruction error",
            data="mnist",
            better="lower",
            note="no figure of LS-GAN's author for MNIST; DCGAN has the same nets and is what the others have to beat",
            full=Effort(recipe=recipe, measure=Reconstructed(), minutes=15),
            scaled=Effort(recipe=f"{recipe}_small", measure=Reconstructed(images=100), seeds=1, minutes=20),
        )


def _bare() -> Iterable[Row]:
    for recipe, system in LOSS_SENSITIVE:
        yield Row(
            name=f"{recipe}_bare",
            system=f"{system} without batch normalisation",
            data="mnist",
            better="lower",
            note="arXiv:1701.06264 shows pictures only: LS-GAN survives, DCGAN does not",
            full=Effort(recipe=f"{recipe}_bare", measure=KID, minutes=15),
            scaled=Effort(recipe=f"{recipe}_bare_small", measure=FEW_KID, seeds=1, minutes=10),
        )


def _several() -> Iterable[Row]:
    for recipe, figure in GMAN.items():
        yield Row(
            name=recipe,
            system=f"GMAN ({recipe.removeprefix('gman').removeprefix('_') or 'learned'}), GMAM summed over the other three",
            data="mnist",
            better="higher",
            published=(Published(figure=figure, source="arXiv:1611.01673, table 1"),),
            full=Effort(recipe=recipe, measure=_against(recipe, ""), minutes=30),
            scaled=Effort(recipe=f"{recipe}_small", measure=_against(recipe, "_small"), seeds=1, minutes=40),
        )
    for recipe, system in (("vaegan", "VAEGAN"), ("vae", "VAE with its nets")):
        yield Row(
            name=recipe,
            system=system,
            data="mnist",
            better="lower",
            full=Effort(recipe=recipe, measure=KID, minutes=15),
            scaled=Effort(recipe=f"{recipe}_small", measure=FEW_KID, seeds=1, minutes=15),
            note="no figure for MNIST was printed; the VAE is what VAEGAN has to beat",
        )


def _against(recipe: str, size: str) -> Against:
    others = tuple(f"{other}{size}" for other in GMAN if other != recipe)
    return Against(opponents=others, lambdas={f"gman_max{size}": "inf"}, own="inf" if recipe == "gman_max" else None)


def _stacked() -> Iterable[Row]:
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
        full=Effort(recipe="dcgan64", options=(*on, "--size", "64"), measure=modes, minutes=60),
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
            full=Effort(recipe="r3gan", measure=measure, seeds=1, minutes=1200),
            scaled=Effort(recipe="r3gan_small", options=on, measure=measure, seeds=1, minutes=60),
            note=note,
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


def _gates() -> Iterable[Row]:
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
                full=Effort(recipe="vanilla", steps=10_000, options=("--gate", gate), measure=measure, seeds=5, minutes=2),
            )


ROWS: tuple[Row, ...] = (
    *_toys(),
    *_first(),
    *_labelled(),
    *_critics(),
    *_bare(),
    *_several(),
    *_stacked(),
    *_ours(),
    *_gates(),
)
"""Every row, in the order of the page."""
