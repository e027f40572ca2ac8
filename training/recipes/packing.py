"""PacGAN and the plain GAN on two mixtures of Gaussians: a discriminator that sees several samples at once."""

from __future__ import annotations

from contract import Latents, Normal
from training.game.optimisers import adam
from training.game.recipe import Nets, Recipe, d_and_g
from training.game.schedules import simultaneous
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.nets import mlp
from training.nets.judges import Packed
from training.nets.layers import initialise, normal

LIN = "Lin et al. 2018, arXiv:1712.04086, section 4.1; nets of Dumoulin et al. 2017, arXiv:1606.00704"
EPOCHS, SMALL_EPOCHS = 400, 30
PACKS, PER_EPOCH = 100, 1000
"""A batch is of 100 packs, an epoch of 100,000 packs, as in fjxmlzn/PacGAN."""


def packing(data: str, degree: int, *, is_small: bool = False) -> Recipe:
    """G: N(0,1)^2, four layers of 400, BN and ReLU. D: three maxout layers of 200 units, 5 pieces. Adam 1e-4, beta1 .8.

    Both move at once. G's batch normalisation sees all samples of a batch, where the authors' sees one of each pack at a time.
    """

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = mlp.generator_norm(2, [400] * 4, shape)
        inner = mlp.discriminator_maxout((degree * shape[0],), [200] * 3, pieces=5, dropout=0.0)
        return {"G": initialise(g, normal(0.02)), "D": Packed(initialise(inner, normal(0.02)), degree)}

    name = f"pacgan{degree}_{data}" if degree > 1 else f"gan_{data}"
    conditioning = f"D takes {degree} points at once" if degree > 1 else "the plain GAN that PacGAN is measured against"
    return Recipe(
        name=f"{name}_small" if is_small else name,
        summary=f"{data}: {conditioning}{f', {SMALL_EPOCHS} epochs' if is_small else ''}",
        paper=LIN,
        data=data,
        latents=lambda classes: {"z": Normal(2)},
        nets=nets,
        players=d_and_g(d_nonsaturating, g_nonsaturating, adam(1e-4, (0.8, 0.999))),
        schedule=simultaneous("D", "G"),
        batch=PACKS * degree,
        least_batch=degree,
        steps=PER_EPOCH * (SMALL_EPOCHS if is_small else EPOCHS),
        log_every=500,
    )


RECIPES = tuple(
    packing(data, degree, is_small=is_small)
    for is_small in (False, True)
    for data in ("ring8", "grid25")
    for degree in (1, 2, 3, 4)
)
