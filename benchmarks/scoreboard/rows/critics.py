"""Rows of games whose D is a critic, an energy or a loss."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoreboard.claims import Above, AtLeast, Below, Claim
from benchmarks.scoreboard.measures import FEW_KID, KID, OverGrid
from benchmarks.scoreboard.row import Protocol, Row
from benchmarks.scoreboard.searched import Reconstructed
from benchmarks.scoreboard.stages import RankCorrelation
from training.recipes.energy import Kind

EARLY = 2_000
"""Steps of a scaled comparison of games whose settings do not depend on its length: a third of the whole."""
BASELINE = "dcgan_torch"
LOSS_SENSITIVE = ((BASELINE, "DCGAN"), ("ls_gan", "LS-GAN"), ("gls_gan", "GLS-GAN"))
"""Recipes on the same nets, and their names: DCGAN is what the others have to beat."""


def critics() -> Iterable[Row]:
    """Wasserstein, energy-based and loss-sensitive games."""
    for recipe, system, minutes, steps in (("wgan", "WGAN", 20, None), ("wgan_gp", "WGAN-GP", 60, 3_000)):
        meaningful = Claim(system=system, text="the critic's loss falls as samples improve", bar=AtLeast(0.8))
        follows = RankCorrelation(scalar="D/loss", sign=-1)
        few = RankCorrelation(scalar="D/loss", sign=-1, samples=2_000)
        yield Row(
            name=recipe,
            system=f"{system}, critic's loss and KID",
            data="mnist",
            better="higher",
            note="figures only",
            full=Protocol(recipe=recipe, measure=follows, claim=meaningful, minutes=minutes),
            scaled=Protocol(recipe=f"{recipe}_small", steps=steps, measure=few, claim=meaningful, minutes=20),
        )
    for recipe, system in (("ebgan", "EBGAN"), ("ebgan_pt", "EBGAN-PT")):
        yield Row(
            name=recipe,
            system=system,
            data="mnist",
            better="lower",
            note="its paper prints histograms only",
            full=Protocol(recipe=recipe, measure=KID, minutes=10),
            scaled=Protocol(recipe=recipe, measure=FEW_KID, steps=4_000, seeds=1, minutes=10),
        )
    for recipe, system in LOSS_SENSITIVE:
        claim = None
        if recipe != BASELINE:
            claim = Claim(system=system, text="generalises no worse than DCGAN", bar=Below(f"{BASELINE}_mre", share=1.05))
        yield Row(
            name=f"{recipe}_mre",
            system=f"{system}, reconstruction error",
            data="mnist",
            better="lower",
            note="no figure of LS-GAN's author for MNIST; DCGAN has the same nets, batches and schedule",
            full=Protocol(recipe=recipe, measure=Reconstructed(), claim=claim, minutes=15),
            scaled=Protocol(recipe=f"{recipe}_small", measure=Reconstructed(images=500), claim=claim, minutes=20),
        )


def gridded() -> Iterable[Row]:
    """Three kinds of games at the same random points of EBGAN's grid; each seed draws its own points."""
    kinds: tuple[tuple[Kind, str, Claim | None], ...] = (
        ("gan", "GAN", None),
        ("ebgan", "EBGAN", Claim(system="EBGAN", text="better than a GAN over the grid of settings", bar=Above("gan_grid"))),
        (
            "ebgan_pt",
            "EBGAN-PT",
            Claim(system="EBGAN", text="the pulling-away term makes it better still", bar=Above("ebgan_grid")),
        ),
    )
    for kind, system, claim in kinds:
        yield Row(
            name=f"{kind}_grid",
            system=f"{system} on EBGAN's grid, I'",
            data="mnist",
            better="higher",
            full=_over_grid(kind, claim, points=32, steps=2_000, largest=3_200, minutes=60),
            scaled=_over_grid(kind, claim, points=8, steps=800, largest=800, minutes=15),
            note="the paper prints histograms over all points; a seed draws points of its own, the same for all three kinds, "
            "and a game that breaks scores 0",
        )


def _over_grid(kind: Kind, claim: Claim | None, *, points: int, steps: int, largest: int, minutes: float) -> Protocol:
    return Protocol(
        recipe="ebgan",
        script="benchmarks/training/ebgan_grid.py",
        options=("--points", str(points), "--largest", str(largest)),
        steps=steps,
        measure=OverGrid(kind=kind),
        claim=claim,
        minutes=minutes,
    )


SURVIVES = 0.5
"""KID of a game in which digits can be seen; of digits of one class it is above 1."""


def bare() -> Iterable[Row]:
    """The loss-sensitive ones and DCGAN without batch normalisation, in G alone and in both nets."""
    for kind, where in (("bare_g", "in G"), ("bare", "in both nets")):
        for recipe, system in LOSS_SENSITIVE:
            claim = None
            if recipe != BASELINE:
                better = Below(f"{BASELINE}_{kind}", at_most=SURVIVES)
                claim = Claim(system=system, text="survives without batch normalisation where DCGAN suffers", bar=better)
            yield Row(
                name=f"{recipe}_{kind}",
                system=f"{system} without batch normalisation {where}",
                data="mnist",
                better="lower",
                note="arXiv:1701.06264 shows pictures only; the .5 was added when all games with both nets bare had collapsed",
                full=Protocol(recipe=f"{recipe}_{kind}_small", measure=FEW_KID, claim=claim, minutes=10),
                scaled=Protocol(recipe=f"{recipe}_{kind}_small", steps=EARLY, measure=FEW_KID, claim=claim, minutes=3),
            )
