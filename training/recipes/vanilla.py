"""The first GANs: Kristiadi's two-layer pair and ReNom's maxout tutorial, both on MNIST."""

from __future__ import annotations

from torch import nn

from contract import Latents, Uniform
from training.game.objective import Loss
from training.game.optimisers import adam
from training.game.recipe import Nets, Player, Recipe
from training.game.schedules import simultaneous
from training.losses.adversarial import (
    d_cross_entropy,
    d_log,
    d_nonsaturating,
    g_cross_entropy,
    g_log,
    g_minimax,
    g_nonsaturating,
)
from training.nets import mlp
from training.nets.layers import he_normal, initialise, uniform

GOODFELLOW = "Goodfellow et al. 2014, arXiv:1406.2661"


def vanilla(name: str, d_loss: Loss, g_loss: Loss, summary: str) -> Recipe:
    """Kristiadi's introduction (wiseodd/generative-models): 100-128-784 against 784-128-1, in one of two loss forms."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = mlp.generator(100, [128], shape, act=nn.ReLU(), last=nn.Sigmoid())
        d = mlp.discriminator(shape, [128], act=nn.ReLU())
        return {"G": initialise(g, he_normal), "D": initialise(d, he_normal)}

    return Recipe(
        name=name,
        summary=summary,
        paper=f"{GOODFELLOW}; nets of Kristiadi 2016, wiseodd/generative-models",
        data="mnist",
        latents=lambda classes: {"z": Uniform(100)},
        nets=nets,
        players=(
            Player(name="D", nets=("D",), loss=d_loss, optimiser=adam(1e-3)),
            Player(name="G", nets=("G",), loss=g_loss, optimiser=adam(1e-3)),
        ),
        batch=128,
        steps=100_000,
        pixels="unit",
        log_every=200,
    )


def renom(name: str, g_loss: Loss, summary: str) -> Recipe:
    """ReNom's tutorial: batch normalisation before each dense layer of G, maxout and dropout in D, one pass for both."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = mlp.generator_norm_first(100, [1200, 1200], shape)
        d = mlp.discriminator_maxout(shape, [240, 240], pieces=5, dropout=0.5)
        return {"G": initialise(g, uniform(0.05)), "D": initialise(d, uniform(0.005))}

    return Recipe(
        name=name,
        summary=summary,
        paper=f"{GOODFELLOW}; nets of ReNom's GAN tutorial 2017",
        data="mnist50k",
        latents=lambda classes: {"z": Uniform(100, 0.0, 1.0)},
        nets=nets,
        players=(
            Player(name="D", nets=("D",), loss=d_nonsaturating, optimiser=adam(1e-3, (0.5, 0.999))),
            Player(name="G", nets=("G",), loss=g_loss, optimiser=adam(1e-3, (0.5, 0.999))),
        ),
        schedule=simultaneous("D", "G"),
        batch=256,
        steps=30 * 195,
        pixels="unit",
        log_every=195,
    )


RECIPES = (
    vanilla("vanilla", d_cross_entropy, g_cross_entropy, "the first GAN, two dense layers a side, cross entropy by logits"),
    vanilla("vanilla_log", d_log, g_log, "the same in its first formulation, -log D - log(1 - D)"),
    renom("renom", g_nonsaturating, "batch-normalised G against a maxout D with dropout, moving at once"),
    renom("renom_minimax", g_minimax, "the same with the zero-sum loss, which saturates"),
)
