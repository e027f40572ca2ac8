"""The first GANs on MNIST: the paper's own net, Kristiadi's two-layer pair and ReNom's maxout tutorial."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from contract import Latents, Uniform
from training.game.batches import Batches
from training.game.objective import Loss
from training.game.optimisers import GeometricDecay, adam, sgd
from training.game.recipe import Choice, Nets, Recipe, d_and_g
from training.game.schedules import alternate, simultaneous
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

AT_ONCE = 10_000
"""Samples that are in memory at a time where a mean is taken."""
GOODFELLOW = "Goodfellow et al. 2014, arXiv:1406.2661"
THEIR_EPOCH = 500
"""Updates of an epoch of goodfeli/adversarial: 50,000 images, 100 at a time."""


def vanilla(
    name: str, d_loss: Loss, g_loss: Loss, summary: str, *, d_steps: int = 1, steps: int = 100_000, export: Choice = "best"
) -> Recipe:
    """Kristiadi's introduction (wiseodd/generative-models): 100-128-784 against 784-128-1, in one of two loss forms.

    ``d_steps`` updates of D precede each of G. The full length collapses late (RESULTS.md).
    """

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
        players=d_and_g(d_loss, g_loss, adam(1e-3)),
        schedule=alternate(d_steps),
        batch=128,
        steps=steps,
        pixels="unit",
        export=export,
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
        players=d_and_g(d_nonsaturating, g_loss, adam(1e-3, (0.5, 0.999))),
        schedule=simultaneous("D", "G"),
        batch=256,
        steps=30 * 195,
        pixels="unit",
        log_every=195,
    )


def goodfellow(name: str, *, steps: int, summary: str) -> Recipe:
    """The net of the paper's table 1: goodfeli/adversarial, mnist.yaml and __init__.py.

    ReLU in G, maxout and dropout in D, G's last bias at the logits of the pixels' means, gradient descent whose rate falls by
    1.000004 an update and whose momentum rises over 250 epochs, D's loss as a mean of two, and one forward pass for both.
    mnist.yaml goes on until someone ends it. While the momentum rises rate / (1 - momentum) stays at .2; after 1,000 epochs
    it is .045.
    """
    hyperparameters = GeometricDecay(0.1, 1.000004, 1e-6, (0.5, 0.7), 250 * THEIR_EPOCH)

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = mlp.generator(100, [1200, 1200], shape, act=nn.ReLU(), last=nn.Sigmoid())
        d = mlp.discriminator_maxout(shape, [240, 240], pieces=5, dropout=0.5, input_dropout=0.2)
        return {"G": initialise(g, uniform(0.05)), "D": initialise(d, uniform(0.005))}

    return Recipe(
        name=name,
        summary=summary,
        paper=f"{GOODFELLOW}; goodfeli/adversarial",
        data="mnist",
        latents=lambda classes: {"z": Uniform(100, -math.sqrt(3), math.sqrt(3))},
        nets=nets,
        prepare=begin_at_the_mean,
        players=d_and_g(0.5 * d_nonsaturating, g_nonsaturating, sgd(0.1, 0.5), hyperparameters),
        schedule=simultaneous("D", "G"),
        batch=100,
        steps=steps,
        pixels="unit",
        log_every=100,
    )


def begin_at_the_mean(nets: Mapping[str, nn.Module], batches: Batches, seed: int) -> None:
    """A recipe's ``prepare``: G's last bias starts at the logit of each pixel's mean over all samples, pixels in 0..1."""
    parts = torch.arange(len(batches)).split(AT_ONCE)
    sums = [batches.rows(part).x.flatten(1).sum(0, dtype=torch.float64) for part in parts]
    mean = (torch.stack(sums).sum(0) / len(batches)).clamp(1e-7, 1 - 1e-7)
    last = [module for module in nets["G"].modules() if isinstance(module, nn.Linear)][-1]
    last.bias.data.copy_(torch.logit(mean))


RECIPES = (
    vanilla("vanilla", d_cross_entropy, g_cross_entropy, "the first GAN, two dense layers a side, cross entropy by logits"),
    vanilla("vanilla_log", d_log, g_log, "the same in its first formulation, -log D - log(1 - D)"),
    vanilla(
        "vanilla_d5",
        d_cross_entropy,
        g_cross_entropy,
        "the same with five updates of D for each of G: a D that is ahead, on which gates are compared",
        d_steps=5,
        steps=6000,
        export="last",
    ),
    vanilla(
        "vanilla_minimax",
        d_cross_entropy,
        g_minimax,
        "the same in the zero-sum form: a D that soon is right about everything, which a gate has to prevent",
        steps=1000,
        export="last",
    ),
    goodfellow(
        "goodfellow", steps=1000 * THEIR_EPOCH, summary="the first GAN as its paper measured it: maxout D, gradient descent"
    ),
    goodfellow("goodfellow_small", steps=60_000, summary="the same for 60,000 steps"),
    renom("renom", g_nonsaturating, "batch-normalised G against a maxout D with dropout, both updated at once"),
    renom("renom_minimax", g_minimax, "the same with the zero-sum loss, which saturates"),
)
