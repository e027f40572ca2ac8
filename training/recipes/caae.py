"""The conditional adversarial autoencoder on rotated digits: the angle is the "age", which changes while the digit stays."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contract import Categorical, Latents, Uniform
from training.game.optimisers import adam
from training.game.recipe import Nets, Player, Recipe
from training.game.schedules import simultaneous
from training.game.step import Batch
from training.losses.caae import d_codes, d_images, fooling_codes, fooling_images, rebuilding
from training.nets.caae import Encoder, Generator, ImageDiscriminator, Restyle, code_discriminator
from training.nets.layers import initialise, normal

ZHANG = "Zhang et al. 2017, arXiv:1702.08423; ZZUTK/Face-Aging-CAAE"
AGES = 10
DEGREES = 18
CODE = 50
PRIOR_SD = 1 / math.sqrt(3)
"""Standard deviation of the prior, uniform in [-1,1]."""


def rotate(x: Tensor, age: Tensor) -> Tensor:
    """Images [N,C,H,W] in [-1,1], turned by (age - 4.5) x 18 degrees, -81 to 81; what comes in at the corners is -1."""
    angle = torch.deg2rad((age.to(x.dtype) - (AGES - 1) / 2) * DEGREES)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    turns = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(turns, list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1


def at_random_ages(real: Batch) -> Batch:
    """Each image turned to an age of its own, which becomes its label."""
    age = torch.randint(AGES, (len(real.x),), device=real.x.device)
    return Batch(rotate(real.x, age), age)


def examine(nets: Mapping[str, nn.Module], test: Batch) -> dict[str, float]:
    """The spread of the codes of unseen images at ages 0, 1, ... 9, 0, ...: the narrow codes of the repository's own weights.

    Returns:
        ``z-sd``: mean over the dimensions of the code of its standard deviation, the prior's being .577; ``z-within-20%``: the
        share of dimensions whose deviation is within a fifth of that.
    """
    age = torch.arange(len(test.x), device=test.x.device) % AGES
    pairs = zip(test.x.split(500), age.split(500), strict=True)
    sd = torch.cat([nets["E"](rotate(x, at)) for x, at in pairs]).std(0)
    within = ((sd / PRIOR_SD - 1).abs() <= 0.2).float().mean()
    return {"z-sd": float(sd.mean()), "z-within-20%": float(within)}


def caae(name: str, summary: str, *, width: int, steps: int, image_weight: float, code_weight: float) -> Recipe:
    """E and G as one player, D of images and D of codes, all updated at once; a weight of 0 leaves the term out.

    Dz learns at a tenth of the authors' rate: at theirs it soon tells all codes from the prior, and they grow narrow again.
    """

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        made: Nets = {
            "E": Encoder(shape, CODE, width=width),
            "G": Generator(shape, CODE, AGES, width=width),
            "D": ImageDiscriminator(shape, AGES, width=width),
            "Dz": code_discriminator(CODE),
        }
        return {role: initialise(net, normal(0.02)) for role, net in made.items()}

    rates = {"EG": 2e-4, "D": 2e-4, "Dz": 2e-5}
    objective = rebuilding + image_weight * fooling_images
    losses = {
        "EG": (("E", "G"), objective + code_weight * fooling_codes if code_weight else objective),
        "D": (("D",), d_images),
        "Dz": (("Dz",), d_codes),
    }
    return Recipe(
        name=name,
        summary=summary,
        paper=ZHANG,
        data="mnist",
        latents=lambda classes: {"z": Uniform(CODE), "age": Categorical(AGES)},
        nets=nets,
        players=tuple(
            Player(name=p, nets=owned, loss=term, optimiser=adam(rates[p], (0.5, 0.999))) for p, (owned, term) in losses.items()
        ),
        schedule=simultaneous("EG", "D", "Dz"),
        batch=64,
        steps=steps,
        picture=lambda x: x,
        is_picture_optional=True,
        conditions=("age",),
        transform_real=at_random_ages,
        sampler=lambda nets: Restyle(nets["E"], nets["G"]),
        examine=examine,
        log_every=100,
    )


RECIPES = (
    caae(
        "caae_small",
        "an autoencoder of turned digits: codes as the prior, the angle apart; it does not turn them yet",
        width=24,
        steps=6_000,
        image_weight=1e-3,
        code_weight=1e-1,
    ),
    caae(
        "caae_narrow_small",
        "the same without the term that spreads the codes, as the authors' program weighs it",
        width=24,
        steps=6_000,
        image_weight=1e-3,
        code_weight=0,
    ),
)
