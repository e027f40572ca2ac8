"""Energy-based GANs on MNIST, with and without the pulling-away term, and the grid on which they meet plain GANs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from contract import Latents, Uniform
from training.game.objective import Loss
from training.game.optimisers import adam
from training.game.recipe import Nets, Recipe, d_and_g
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.energy import d_energy, g_energy, pulling_away
from training.nets import energy

ZHAO = "Zhao et al. 2017, arXiv:1609.03126, section 4.1 and appendix B"
MARGIN = 10.0
PULLING_AWAY = 0.1
Kind = Literal["ebgan", "ebgan_pt", "gan"]
KINDS: tuple[Kind, ...] = ("ebgan", "ebgan_pt", "gan")
LOSSES: dict[Kind, tuple[Loss, Loss]] = {
    "ebgan": (d_energy(MARGIN), g_energy),
    "ebgan_pt": (d_energy(MARGIN), g_energy + PULLING_AWAY * pulling_away),
    "gan": (d_nonsaturating, g_nonsaturating),
}


@dataclass(frozen=True, kw_only=True)
class Size:
    """A point of the paper's grid (its table 1): layers and units of both nets, and whether D drops half of its units."""

    g_layers: int
    g_size: int
    d_layers: int
    """The decoder, always one layer, is the last of them; in a plain GAN it is the logit's."""
    d_size: int
    has_dropout: bool

    def __str__(self) -> str:
        return f"g{self.g_layers}x{self.g_size}_d{self.d_layers}x{self.d_size}{'_drop' if self.has_dropout else ''}"


BEST = Size(g_layers=5, g_size=800, d_layers=2, d_size=1024, has_dropout=False)
"""What the paper's grid found best for EBGAN and EBGAN-PT."""


def on_grid(name: str, kind: Kind, size: Size, *, steps: int, summary: str) -> Recipe:
    """One of the three games at one point of the grid; Adam at 1e-3 for both players, margin 10, weight of f_PT .1.

    Latents, batch and length are ours; the paper's grid does not state them.
    """
    d_loss, g_loss = LOSSES[kind]
    dropout = 0.5 if size.has_dropout else 0.0

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = energy.generator(100, shape, layers=size.g_layers, size=size.g_size)
        if kind == "gan":
            return {"G": g, "D": energy.discriminator(shape, layers=size.d_layers, size=size.d_size, dropout=dropout)}
        d = energy.auto_encoder(shape, layers=size.d_layers, size=size.d_size, dropout=dropout)
        return {"G": g, "D": d}

    return Recipe(
        name=name,
        summary=summary,
        paper=ZHAO,
        data="mnist",
        latents=lambda classes: {"z": Uniform(100)},
        nets=nets,
        players=d_and_g(d_loss, g_loss, adam(1e-3)),
        batch=128,
        steps=steps,
        log_every=100,
    )


def grid(count: int, *, seed: int = 0, steps: int = 2000, largest: int = 3200) -> tuple[Recipe, ...]:
    """All three games at each of ``count`` different points of the grid, drawn at random: three recipes a point.

    ``largest`` leaves out points whose G has wider layers: with 3,200 units a step takes seconds on one core.

    Raises:
        ValueError: the grid has fewer points.
    """
    points = [
        Size(g_layers=gl, g_size=gs, d_layers=dl, d_size=ds, has_dropout=drop)
        for gl in (2, 3, 4, 5)
        for gs in (400, 800, 1600, 3200)
        if gs <= largest
        for dl in (2, 3, 4, 5)
        for ds in (128, 256, 512, 1024)
        for drop in (False, True)
    ]
    if not 0 < count <= len(points):
        raise ValueError(f"the grid has {len(points)} points: count must be 1..{len(points)}, got {count}")
    chosen = random.Random(seed).sample(points, count)
    return tuple(
        on_grid(f"{kind}_{size}", kind, size, steps=steps, summary=f"{kind} at a point of EBGAN's grid")
        for size in chosen
        for kind in KINDS
    )


RECIPES = (
    on_grid("ebgan", "ebgan", BEST, steps=8_000, summary="D is an auto-encoder, its error an energy that G lowers"),
    on_grid("ebgan_pt", "ebgan_pt", BEST, steps=8_000, summary="the same with the pulling-away term, against clumping"),
)
