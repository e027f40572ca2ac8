"""Mao's comparison on a mixture of Gaussians: one pair of small nets, by least squares and by the first GAN's losses."""

from __future__ import annotations

from torch import Tensor, nn

from contract import Latents, Normal
from training.game.objective import Loss
from training.game.optimisers import adam
from training.game.recipe import Nets, Player, Recipe
from training.game.schedules import simultaneous
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.least_squares import d_squares, g_squares
from training.nets import mlp
from training.nets.layers import initialise

MAO = "Mao et al. 2017, arXiv:1611.04076; stability_comparison/mixture_gaussian of xudonmao/LSGAN"
Z = 256
HIDDEN = [128, 128]


def orthogonal(weight: Tensor) -> Tensor:
    """Orthogonal, times 1.4."""
    return nn.init.orthogonal_(weight, 1.4)


def mixture(name: str, summary: str, d_loss: Loss, g_loss: Loss) -> Recipe:
    """ls.py and sig.py: two layers of 128 tanh units each, z N(0,1)^256, Adam with beta1 .5, at 1e-4 for D and 1e-3 for G.

    Both move at once. Theirs sums the squares of a batch of 512 where ours takes their mean, which Adam undoes but for its
    epsilon. One of their eight Gaussians has twice the weight of the others, since their angles go from 0 to 2 pi inclusive;
    ours are equal.
    """

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = mlp.generator(Z, HIDDEN, shape, act=nn.Tanh(), last=None)
        return {"G": initialise(g, orthogonal), "D": initialise(mlp.discriminator(shape, HIDDEN, act=nn.Tanh()), orthogonal)}

    return Recipe(
        name=name,
        summary=summary,
        paper=MAO,
        data="ring8",
        latents=lambda classes: {"z": Normal(Z)},
        nets=nets,
        players=(
            Player(name="D", nets=("D",), loss=d_loss, optimiser=adam(1e-4, (0.5, 0.999))),
            Player(name="G", nets=("G",), loss=g_loss, optimiser=adam(1e-3, (0.5, 0.999))),
        ),
        schedule=simultaneous("D", "G"),
        batch=512,
        steps=35_000,
        log_every=500,
    )


RECIPES = (
    mixture(
        "least_squares_ring8", "eight Gaussians on a circle by least squares, targets 0, 1 and 1", d_squares(0, 1), g_squares(1)
    ),
    mixture("cross_entropy_ring8", "the same nets by the losses of the first GAN", d_nonsaturating, g_nonsaturating),
)
