"""LAPGAN: a game for each level of a Laplacian pyramid, and the GAN of a single scale that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from contract import Categorical, Latents, Uniform
from contract.latents import classes_of
from training.game.objective import Loss
from training.game.optimisers import GeometricDecay, Optimiser, adam, sgd
from training.game.recipe import Hyperparameters, Nets, Player, Recipe
from training.game.schedules import Schedule, Update, alternate
from training.game.step import Batch
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.pyramid import at_level
from training.metrics.codes import labels_of
from training.metrics.images import laplacian_energy
from training.nets.pyramid import (
    DenseDiscriminator,
    DenseGenerator,
    DetailDiscriminator,
    DetailGenerator,
    Pyramid,
    double,
    halve,
)

DENTON = "Denton et al. 2015, arXiv:1506.05751; facebook/eyescream"
LEVELS = (0, 1, 2)
"""From the lowest, 7 -> 14 -> 28 on MNIST."""
SMALLEST = 7
NOISE = 100
"""Size of the latent of the lowest level; of the others it is the number of pixels."""
BATCH = 64
EPOCH = 60_000 // BATCH
EXAMINED = 2_000
"""Samples whose sharpness is measured."""


def lapgan(name: str, summary: str, *, dense: tuple[int, int], width: int, steps: int, has_adam: bool = False) -> Recipe:
    """Three conditional games that share the reals of a batch and nothing else, played together.

    Args:
        name: name of the recipe.
        summary: one line.
        dense: units of the hidden layers of the lowest G and D.
        width: channels of the hidden layers of the other levels.
        steps: number of steps.
        has_adam: Adam in the place of gradient descent.
    """

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        classes, channels = classes_of(latents), shape[0]
        made: Nets = {
            "G0": DenseGenerator(NOISE, classes, (channels, SMALLEST, SMALLEST), width=dense[0]),
            "D0": DenseDiscriminator(classes, (channels, SMALLEST, SMALLEST), width=dense[1]),
        }
        for level in LEVELS[1:]:
            side = SMALLEST << level
            made[f"G{level}"] = DetailGenerator(classes, (channels, side, side), width=width)
            made[f"D{level}"] = DetailDiscriminator(classes, (channels, side, side), width=width)
        return made

    def latents(classes: int) -> Latents:
        details = {f"z{level}": Uniform((SMALLEST << level) ** 2) for level in LEVELS[1:]}
        return {"z0": Uniform(NOISE), **details, "y": Categorical(classes)}

    def player(role: str, level: int, objective: Loss) -> Player:
        return _player(f"{role}{level}", at_level(objective, level, len(LEVELS)), has_adam=has_adam)

    d_names, g_names = (tuple(f"{role}{level}" for level in LEVELS) for role in "DG")
    updates = (Update(d_names), Update(g_names))
    return Recipe(
        name=name,
        summary=summary,
        paper=DENTON,
        data="mnist",
        size=SMALLEST << LEVELS[-1],
        latents=latents,
        nets=nets,
        players=(
            *(player("D", level, _d_loss(has_adam)) for level in LEVELS),
            *(player("G", level, g_nonsaturating) for level in LEVELS),
        ),
        schedule=Schedule("all discriminators, then all generators, own batches", lambda step: updates),
        batch=BATCH,
        steps=steps,
        conditions=("y",),
        sampler=lambda nets: Pyramid([nets[name] for name in g_names]),
        examine=examine,
        log_every=100,
    )


def examine(nets: Mapping[str, nn.Module], test: Batch) -> dict[str, float]:
    """Sharpness of samples, by Laplacian energy: over that of the level below, enlarged, and over that of real images.

    ``real-gain`` is the first of real images. Latents are drawn by a fixed seed, a sample for each test label.
    """
    x, y = test.x[:EXAMINED], labels_of(test)[:EXAMINED]
    dice = torch.Generator().manual_seed(0)
    sizes = {"z0": NOISE, **{f"z{level}": (SMALLEST << level) ** 2 for level in LEVELS[1:]}}
    z = {key: (2 * torch.rand(len(x), size, generator=dice) - 1).to(x.device) for key, size in sizes.items()}
    *lower, _ = generators = [nets[f"G{level}"] for level in LEVELS]
    below, made = (Pyramid(part)(y, **z).clamp(-1, 1) for part in (lower, generators))
    energy = laplacian_energy(made)
    return {
        "sharpness-gain": energy / laplacian_energy(double(below)),
        "real-gain": laplacian_energy(x) / laplacian_energy(double(halve(x))),
        "sharpness": energy / laplacian_energy(x),
    }


def single(name: str, summary: str, *, dense: tuple[int, int], steps: int, has_adam: bool = False) -> Recipe:
    """The nets of the lowest level on whole images: cifar/scripts/train_cifar_classcond.lua."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        classes = classes_of(latents)
        return {
            "G": DenseGenerator(NOISE, classes, shape, width=dense[0]),
            "D": DenseDiscriminator(classes, shape, width=dense[1]),
        }

    return Recipe(
        name=name,
        summary=summary,
        paper=DENTON,
        data="mnist",
        latents=lambda classes: {"z": Uniform(NOISE), "y": Categorical(classes)},
        nets=nets,
        players=(
            _player("D", _d_loss(has_adam), has_adam=has_adam),
            _player("G", g_nonsaturating, has_adam=has_adam),
        ),
        schedule=alternate(is_new_batch=True),
        batch=BATCH,
        steps=steps,
        conditions=("y",),
        log_every=100,
    )


def _d_loss(has_adam: bool) -> Loss:
    """Reals and fakes have one mean in the authors' scripts, half of the sum of two; Adam knows no difference."""
    return d_nonsaturating if has_adam else 0.5 * d_nonsaturating


def _player(name: str, objective: Loss, *, has_adam: bool) -> Player:
    """Gradient descent as the authors' scripts have it, or Adam, for fewer steps.

    The scripts divide the rate and raise the momentum once an epoch; here both change a little at each step.
    """
    optimiser: Optimiser = adam(5e-4, (0.5, 0.999)) if has_adam else sgd(0.02, 0.0)
    descent: Hyperparameters = GeometricDecay(0.02, 1.00004 ** (1 / EPOCH), 1e-6, (0.0, 0.7), 875 * EPOCH)
    return Player(name=name, nets=(name,), loss=objective, optimiser=optimiser, hyperparameters=None if has_adam else descent)


LONG, SHORT = 100 * EPOCH, 6000
DENSE, DENSE_SMALL = (1200, 600), (600, 300)
"""Units of the hidden layers of G and D at the lowest level."""
SINGLE, SINGLE_SMALL = (1058, 488), (387, 144)
"""The same at 28, where they give G and D as many weights as all levels of the pyramid have."""

RECIPES = (
    lapgan("lapgan", "a game for each level of a pyramid, 7 to 14 to 28", dense=DENSE, width=64, steps=LONG),
    single(
        "lapgan_single",
        "one scale, as many weights: what LAPGAN is compared with",
        dense=SINGLE,
        steps=LONG,
    ),
    lapgan("lapgan_small", "the same a quarter as wide, by Adam", dense=DENSE_SMALL, width=16, steps=SHORT, has_adam=True),
    single("lapgan_single_small", "the same by Adam", dense=SINGLE_SMALL, steps=SHORT, has_adam=True),
)
