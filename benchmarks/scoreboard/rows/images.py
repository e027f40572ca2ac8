"""Rows of recipes for images without labels."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.measures import FEW_KID, KID, PARZEN, Logged
from benchmarks.scoreboard.row import Protocol_, Published, Row

GOODFELLOW = Published(figure="225 ± 2", source="arXiv:1406.2661, table 1, its own larger net")
LUCIC = "FIDs of arXiv:1711.10337 are Inception's and not comparable"


def first() -> Iterable[Row]:
    """The first GANs, DCGAN and least squares."""
    yield Row(
        name="vanilla",
        system="GAN, 100-128-784",
        data="mnist",
        better="higher",
        published=(GOODFELLOW,),
        full=Protocol_(recipe="vanilla", measure=PARZEN, minutes=15),
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
            full=Protocol_(recipe="renom", measure=Logged(name=f"accuracy/{part}"), minutes=16),
        )
    yield Row(
        name="dcgan",
        system="DCGAN",
        data="mnist",
        better="lower",
        full=Protocol_(recipe="dcgan", measure=KID, minutes=10),
        scaled=Protocol_(recipe="dcgan", measure=FEW_KID, steps=4_000, seeds=1, minutes=15),
    )
    yield Row(
        name="least_squares",
        system="Least-squares GAN",
        data="mnist",
        better="lower",
        full=Protocol_(recipe="least_squares", measure=KID, minutes=10),
        scaled=Protocol_(recipe="least_squares_small", measure=FEW_KID, seeds=1, minutes=15),
        note=LUCIC,
    )


def variational() -> Iterable[Row]:
    """VAEGAN and the VAE that it has to beat."""
    for recipe, system in (
        ("vaegan", "VAEGAN"),
        ("vaegan_ns", "VAEGAN, G's loss not saturating"),
        ("vae", "VAE with its nets"),
    ):
        yield Row(
            name=recipe,
            system=system,
            data="mnist",
            better="lower",
            full=Protocol_(recipe=recipe, measure=KID, minutes=15),
            scaled=Protocol_(recipe=f"{recipe}_small", measure=FEW_KID, seeds=1, minutes=15),
            note="no figure for MNIST was printed; the VAE is what VAEGAN has to beat",
        )
