"""Games on one or two numbers, whose truth is known: a Gaussian and a parabola."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from contract import Latents, Uniform
from training.data.toys import DEVIATION, MEAN
from training.game.batches import Batches
from training.game.optimisers import StaircaseDecay, adam, rmsprop_tf, sgd
from training.game.priors import stratified
from training.game.recipe import Nets, Prepare, Recipe, d_and_g
from training.game.schedules import alternate
from training.game.step import Batch
from training.losses.adversarial import (
    d_cross_entropy,
    d_log_clamped,
    d_nonsaturating,
    g_cross_entropy,
    g_log_clamped,
    g_nonsaturating,
)
from training.nets import mlp
from training.nets.layers import MinibatchDiscrimination, initialise, normal

FITTED_STEPS, FITTED_WITHIN = 1000, 5.0
"""Steps by which D is fitted to the density of the data before the game, and half the range of their points."""


def toy1d(name: str, *, has_minibatch: bool, is_clamped: bool, summary: str) -> Recipe:
    """AYLIEN's gan-intro: 1-4-1 against 1-8-8-1, with minibatch discrimination in the place of a third layer.

    Its code keeps the arguments of its logarithms at 1e-5 or more, against NaN. With weights from N(0,1) that stops some games
    before they begin, both players beyond the clamp and without a gradient; exact logarithms need no clamp.
    """
    d_loss, g_loss = (d_log_clamped, g_log_clamped) if is_clamped else (d_nonsaturating, g_nonsaturating)
    return Recipe(
        name=name,
        summary=summary,
        paper="Glover 2016, AYLIEN/gan-intro; minibatch discrimination of Salimans et al. 2016, arXiv:1606.03498",
        data="gaussian1d",
        latents=lambda classes: {"z": Uniform(1, -8.0, 8.0)},
        nets=lambda shape, latents: _nets(shape, nn.ReLU(), has_minibatch=has_minibatch),
        players=d_and_g(d_loss, g_loss, adam(1e-3)),
        sample_latents=stratified,
        transform_real=in_order,
        batch=8,
        steps=5000,
        log_every=100,
    )


def toy1d_fitted(name: str, *, has_minibatch: bool, summary: str) -> Recipe:
    """gan-intro as it was when its text was written (bdfa5c3, 6fb4cf9): tanh in D, gradient descent, D fitted to the density.

    917b37d, which ``toy1d`` follows, came ten months later.
    """
    decay = StaircaseDecay(0.005 if has_minibatch else 0.03, 0.95, 150)
    batch = 12
    return replace(
        toy1d(name, has_minibatch=has_minibatch, is_clamped=False, summary=summary),
        nets=lambda shape, latents: _nets(shape, nn.Tanh(), has_minibatch=has_minibatch),
        prepare=fit_to_density(decay, points=batch),
        players=d_and_g(d_nonsaturating, g_nonsaturating, sgd(decay.rate, 0.0), decay),
        batch=batch,
        steps=1200,
    )


def fit_to_density(decay: StaircaseDecay, *, points: int) -> Prepare:
    """A recipe's ``prepare``: D learns the density of ``gaussian1d`` by least squares, so that G has a gradient at once."""

    def prepare(nets: Mapping[str, nn.Module], batches: Batches, seed: int) -> None:
        weights: list[Tensor] = list(nets["D"].parameters())
        dice = torch.Generator().manual_seed(seed)
        for step in range(FITTED_STEPS):
            x = (2 * torch.rand(points, 1, generator=dice) - 1) * FITTED_WITHIN
            density = torch.exp(-((x - MEAN) ** 2) / (2 * DEVIATION**2)) / (DEVIATION * math.sqrt(2 * math.pi))
            x, density = x.to(batches.data.device), density.to(batches.data.device)
            loss = (torch.sigmoid(nets["D"](x).logit) - density[:, 0]).square().mean()
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                torch._foreach_add_(weights, gradients, alpha=-decay(step, FITTED_STEPS)["lr"])

    return prepare


def _nets(shape: tuple[int, ...], act: nn.Module, *, has_minibatch: bool) -> Nets:
    """1-4-1 against 1-8-8-8-1, or 1-8-8 and minibatch discrimination; weights from N(0,1)."""
    g = mlp.generator(1, [4], shape, act=nn.Softplus(), last=None)
    layers: list[nn.Module] = [nn.Linear(1, 8), act, nn.Linear(8, 8), act]
    layers += [MinibatchDiscrimination(8)] if has_minibatch else [nn.Linear(8, 8), act]
    d = mlp.Discriminator(nn.Sequential(*layers), 13 if has_minibatch else 8)
    initialise(g, normal(1.0))
    initialise(d, normal(1.0))
    for module in d.modules():
        if isinstance(module, MinibatchDiscrimination):
            initialise(module, normal(0.02))
    return {"G": g, "D": d}


def in_order(batch: Batch) -> Batch:
    """The batch sorted by its one number, as gan-intro sorts it."""
    ordered: Tensor = batch.x.sort(0).values
    return Batch(ordered)


def parabola(name: str, data: str, summary: str) -> Recipe:
    """A GAN of three layers of ten on a parabola, D moving twenty times for each move of G."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        act = nn.LeakyReLU(0.2)
        g = mlp.generator(2, [10, 10, 10], shape, act=act, last=None)
        d = mlp.discriminator(shape, [10, 10, 10], act=act)
        return {"G": initialise(g, nn.init.xavier_uniform_), "D": initialise(d, nn.init.xavier_uniform_)}

    return Recipe(
        name=name,
        summary=summary,
        paper="after Paperspace's introduction to GANs in TensorFlow, 2018",
        data=data,
        latents=lambda classes: {"z": Uniform(2)},
        nets=nets,
        players=d_and_g(d_cross_entropy, g_cross_entropy, rmsprop_tf(1e-3)),
        schedule=alternate(20),
        batch=100,
        steps=10_000,
        log_every=100,
    )


RECIPES = (
    toy1d("toy1d", has_minibatch=False, is_clamped=False, summary="a Gaussian of one number, the game that collapses"),
    toy1d("toy1d_minibatch", has_minibatch=True, is_clamped=False, summary="the same with minibatch discrimination"),
    toy1d("toy1d_clamped", has_minibatch=False, is_clamped=True, summary="toy1d with gan-intro's clamped logarithms"),
    toy1d("toy1d_minibatch_clamped", has_minibatch=True, is_clamped=True, summary="toy1d_minibatch with clamped logarithms"),
    toy1d_fitted(
        "toy1d_fitted",
        has_minibatch=False,
        summary="the tutorial's first program: D is fitted to the density, then both descend",
    ),
    toy1d_fitted("toy1d_minibatch_fitted", has_minibatch=True, summary="toy1d_fitted with minibatch discrimination"),
    parabola("parabola", "parabola", "two numbers on a parabola, twenty updates of D for one of G"),
    parabola("parabola_norm", "parabola-norm", "the same on a parabola scaled to [-1,1]"),
)
