"""Rows of games whose D is a critic, an energy or a loss."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.measures import FEW_KID, KID, RankCorrelation, Reconstructed
from benchmarks.scoreboard.row import Protocol_, Row

LOSS_SENSITIVE = (("dcgan", "DCGAN"), ("ls_gan", "LS-GAN"), ("gls_gan", "GLS-GAN"))
"""Recipes on the same nets, and their names: DCGAN is what the others have to beat."""


def critics() -> Iterable[Row]:
    """Wasserstein, energy-based and loss-sensitive games."""
    claim = "figures only; our bar is .9"
    for recipe, system, minutes in (("wgan", "WGAN", 20), ("wgan_gp", "WGAN-GP", 60)):
        follows = RankCorrelation(scalar="D/loss", sign=-1)
        few = RankCorrelation(scalar="D/loss", sign=-1, samples=2_000)
        yield Row(
            name=recipe,
            system=f"{system}, critic's loss and KID",
            data="mnist",
            better="higher",
            note=claim,
            full=Protocol_(recipe=recipe, measure=follows, minutes=minutes),
            scaled=Protocol_(recipe=f"{recipe}_small", measure=few, seeds=1, minutes=30),
        )
    for recipe, system in (("ebgan", "EBGAN"), ("ebgan_pt", "EBGAN-PT")):
        yield Row(
            name=recipe,
            system=system,
            data="mnist",
            better="lower",
            note="its paper prints histograms only",
            full=Protocol_(recipe=recipe, measure=KID, minutes=10),
            scaled=Protocol_(recipe=recipe, measure=FEW_KID, steps=4_000, seeds=1, minutes=10),
        )
    for recipe, system in LOSS_SENSITIVE:
        yield Row(
            name=f"{recipe}_mre",
            system=f"{system}, reconstruction error",
            data="mnist",
            better="lower",
            note="no figure of LS-GAN's author for MNIST; DCGAN has the same nets and is what the others have to beat",
            full=Protocol_(recipe=recipe, measure=Reconstructed(), minutes=15),
            scaled=Protocol_(recipe=f"{recipe}_small", measure=Reconstructed(images=100), seeds=1, minutes=20),
        )


def bare() -> Iterable[Row]:
    """The loss-sensitive ones and DCGAN without batch normalisation."""
    for recipe, system in LOSS_SENSITIVE:
        yield Row(
            name=f"{recipe}_bare",
            system=f"{system} without batch normalisation",
            data="mnist",
            better="lower",
            note="arXiv:1701.06264 shows pictures only: LS-GAN survives, DCGAN does not",
            full=Protocol_(recipe=f"{recipe}_bare", measure=KID, minutes=15),
            scaled=Protocol_(recipe=f"{recipe}_bare_small", measure=FEW_KID, seeds=1, minutes=10),
        )
