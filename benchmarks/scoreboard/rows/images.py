"""Rows of recipes for images without labels."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import AtLeast, AtMost, Below, Claim, Spread
from benchmarks.scoreboard.measures import FEW_KID, KID, PARZEN, Logged
from benchmarks.scoreboard.row import Protocol, PublishedFigure, Row
from benchmarks.scoreboard.rows.critics import EARLY

GOODFELLOW = PublishedFigure(figure="225 ± 2", source="arXiv:1406.2661, table 1, its own larger net")
RENOM_EPOCH = 50_000 // 256
LUCIC = "FIDs of arXiv:1711.10337 are Inception's and not comparable"


def first() -> Iterable[Row]:
    """The first GANs, DCGAN and least squares."""
    yield Row(
        name="vanilla",
        system="GAN, 100-128-784",
        data="mnist",
        better="higher",
        full=Protocol(recipe="vanilla", options=("--export", "last"), measure=PARZEN, minutes=15),
        note="a tutorial's net, of which no figure was printed; the last step, not the best",
    )
    likelihood = "the likelihood of table 1"
    yield Row(
        name="goodfellow",
        system="GAN, the paper's own net",
        data="mnist",
        better="higher",
        published=(GOODFELLOW,),
        full=Protocol(
            recipe="goodfellow",
            measure=PARZEN,
            claim=Claim(system="GAN", text=likelihood, bar=AtLeast(200)),
            minutes=10,
        ),
        scaled=Protocol(
            recipe="goodfellow_small",
            measure=PARZEN,
            claim=Claim(system="GAN", text=f"{likelihood} is in sight", bar=AtLeast(150)),
            minutes=40,
        ),
        note="the first 125,000 of the 500,000 steps had 181.2, 185.0 and 177.3 nats",
    )
    for part, last, tenth in (("real", ".745", ".778"), ("fake", ".870", ".889")):
        at_30, at_10 = (
            Claim(system="ReNom's GAN", text="the tutorial's run is one of ours", bar=Spread(float(f))) for f in (last, tenth)
        )
        measure = Logged(name=f"accuracy/{part}")
        yield Row(
            name=f"renom_{part}",
            system=f"ReNom's maxout GAN, D's accuracy on {part}",
            data="mnist50k",
            better="nearer",
            published=tuple(
                PublishedFigure(figure=f, source=f"ReNom's tutorial, epoch {epoch} of one run")
                for f, epoch in ((last, 30), (tenth, 10))
            ),
            full=Protocol(recipe="renom", measure=measure, seeds=8, claim=at_30, minutes=16),
            scaled=Protocol(recipe="renom", steps=10 * RENOM_EPOCH, measure=measure, seeds=8, claim=at_10, minutes=3),
            note="scaled: the tutorial's tenth epoch",
        )
    digits = Claim(system="DCGAN", text="digits without labels", bar=AtMost(0.03))
    yield Row(
        name="dcgan",
        system="DCGAN",
        data="mnist",
        better="lower",
        full=Protocol(
            recipe="dcgan",
            measure=KID,
            claim=Claim(system="DCGAN", text="digits without labels", bar=AtMost(0.02)),
            minutes=10,
        ),
        scaled=Protocol(recipe="dcgan_small", measure=FEW_KID, claim=digits, minutes=15),
    )
    baseline = Claim(
        system="least squares", text="no worse than the loss of DCGAN on equal nets", bar=Below("dcgan_torch", share=1.05)
    )
    pairs: tuple[tuple[str, str, Claim | None], ...] = (
        ("dcgan_torch", "DCGAN as dcgan.torch plays it", None),
        ("least_squares", "Least-squares GAN", baseline),
    )
    for recipe, system, bar in pairs:
        yield Row(
            name=recipe,
            system=system,
            data="mnist",
            better="lower",
            full=Protocol(recipe=recipe, measure=KID, claim=bar, minutes=10),
            scaled=Protocol(recipe=f"{recipe}_small", steps=EARLY, measure=FEW_KID, claim=bar, minutes=5),
            note=LUCIC if recipe == "least_squares" else "",
        )


def variational() -> Iterable[Row]:
    """VAEGAN and the VAE that it has to beat."""
    for recipe, system in (
        ("vaegan", "VAEGAN"),
        ("vaegan_ns", "VAEGAN, G's loss not saturating"),
        ("vae", "VAE with its nets"),
    ):
        better = Claim(system="VAEGAN", text="better samples than the VAE", bar=Below("vae"))
        claim = None if recipe == "vae" else better
        yield Row(
            name=recipe,
            system=system,
            data="mnist",
            better="lower",
            full=Protocol(recipe=recipe, measure=KID, claim=claim, minutes=15),
            scaled=Protocol(recipe=f"{recipe}_small", measure=FEW_KID, claim=claim, minutes=15),
            note="no figure for MNIST was printed; the VAE is what VAEGAN has to beat",
        )
