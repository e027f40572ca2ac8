"""Conditional GANs: the first, of dense layers, and DCGAN's authors' own on MNIST."""

from __future__ import annotations

import math

from torch import nn

from contract import Categorical, Latents, Uniform
from contract.latents import classes_of
from training.game.optimisers import GeometricDecay, LinearDecay, adam, sgd
from training.game.recipe import Nets, Recipe, d_and_g
from training.game.schedules import alternate, simultaneous
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.nets import conditional
from training.nets.layers import initialise, uniform
from training.recipes.dcgan import RADFORD
from training.recipes.vanilla import begin_at_the_mean

MIRZA = "Mirza and Osindero 2014, arXiv:1411.1784; schedule and weights of goodfeli/adversarial"


def cgan(name: str, summary: str, *, steps: int, has_adam: bool = False) -> Recipe:
    """The paper's nets; where it is silent goodfeli/adversarial, on which it was built.

    From there are the initial weights, G's last bias (the logits of the pixels' means), z of variance 1, dropout on the
    samples, one forward pass for both players, D's loss as a mean of two. The decay of the rate, 1.00004 an update, is the
    paper's: after 150,000 updates the rate is .00025. With the 1.000004 of that program it would still be .055.
    The paper's "unit hypercube" is centred at 0 there: from [0,1] each unit behind z is pushed one way by all samples at once,
    and ends shut. The paper stops at the best estimate on a validation set; we do not. ``has_adam`` replaces gradient descent
    by Adam, under which the nets need a tenth of the steps, and begins with torch's weights: with D's of at most .005 the label
    weighs so little at first that D learns to tell all fakes before it reads labels, and G does not learn them.
    """
    descent = GeometricDecay(0.1, 1.00004, 1e-6, (0.5, 0.7), steps)
    hyperparameters = None if has_adam else descent
    optimiser = adam(2e-4, (0.5, 0.999)) if has_adam else sgd(0.1, 0.5)

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        classes = classes_of(latents)
        g: nn.Module = conditional.joint_generator(100, classes, shape)
        d: nn.Module = conditional.joint_discriminator(classes, shape)
        return {"G": g, "D": d} if has_adam else {"G": initialise(g, uniform(0.05)), "D": initialise(d, uniform(0.005))}

    return Recipe(
        name=name,
        summary=summary,
        paper=MIRZA,
        data="mnist",
        latents=lambda classes: {"z": Uniform(100, -math.sqrt(3), math.sqrt(3)), "y": Categorical(classes)},
        nets=nets,
        prepare=begin_at_the_mean,
        players=d_and_g(0.5 * d_nonsaturating, g_nonsaturating, optimiser, hyperparameters),
        schedule=simultaneous("D", "G"),
        batch=100,
        steps=steps,
        pixels="unit",
        conditions=("y",),
        log_every=100,
    )


def cdcgan(name: str, summary: str, *, data: str, width: int, dense: int, steps: int) -> Recipe:
    """mnist/train_cond_dcgan.py: the label at every layer, D and G in turns on batches of their own, a rate that falls."""
    optimiser, hyperparameters = adam(2e-4, (0.5, 0.999), weight_decay=2.5e-5), LinearDecay(2e-4)

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        classes = classes_of(latents)
        return {
            "G": conditional.every_layer_generator(100, classes, shape, width=width, dense=dense),
            "D": conditional.every_layer_discriminator(classes, shape, width=width, dense=dense),
        }

    return Recipe(
        name=name,
        summary=summary,
        paper=RADFORD,
        data=data,
        latents=lambda classes: {"z": Uniform(100), "y": Categorical(classes)},
        nets=nets,
        players=d_and_g(d_nonsaturating, g_nonsaturating, optimiser, hyperparameters),
        schedule=alternate(is_new_batch=True),
        batch=128,
        steps=steps,
        pixels="unit",
        conditions=("y",),
    )


EPOCH = 60_000 // 256
"""Steps of one epoch of MNIST, half of it for D and half for G."""

RECIPES = (
    cgan("cgan", "the first conditional GAN, dense layers and maxout", steps=150_000),
    cgan("cgan_small", "the same by Adam, for 15,000 steps", steps=15_000, has_adam=True),
    cdcgan("cdcgan", "conditional DCGAN of DCGAN's authors", data="mnist", width=64, dense=1024, steps=200 * EPOCH),
    cdcgan("cdcgan_small", "the same, half as wide, on 5,000 digits", data="mnist5k", width=32, dense=512, steps=4000),
)
