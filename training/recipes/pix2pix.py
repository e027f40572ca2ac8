"""pix2pix on MNIST: edges to digits, by L1 and a discriminator of patches, and by L1 alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from contract import Latents, Uniform
from contract.pictures import PICTURE
from training.game.optimisers import adam
from training.game.recipe import Nets, Recipe, d_and_g
from training.game.schedules import alternate, simultaneous
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.translation import l1
from training.nets.layers import initialise, normal
from training.nets.translation import PatchDiscriminator, UNet, dropout_size

ISOLA = "Isola et al. 2017, arXiv:1611.07004; phillipi/pix2pix"
SHAPE = (1, 28, 28)


def edges(x: Tensor) -> Tensor:
    """The outline of images [N,C,H,W] in [-1,1]: the bright pixels that have a dark neighbour, 1 on -1."""
    bright = (x > 0).to(x.dtype)
    inside = 1 - F.max_pool2d(1 - bright, 3, 1, 1)
    return 2 * torch.clamp(bright - inside, 0, 1) - 1


def pix2pix(name: str, summary: str, *, width: int, steps: int, weight: float = 100, is_adversarial: bool = True) -> Recipe:
    """The authors' loss: the GAN's, D's halved, and ``weight`` times L1; or L1 alone, without a discriminator."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        made: Nets = {"G": UNet(shape, width=width)}
        if is_adversarial:
            made["D"] = PatchDiscriminator(shape[0], width=width)
        return {role: initialise(net, normal(0.02)) for role, net in made.items()}

    g_loss = g_nonsaturating + weight * l1 if is_adversarial else weight * l1
    d, g = d_and_g(0.5 * d_nonsaturating, g_loss, adam(2e-4, (0.5, 0.999)))
    return Recipe(
        name=name,
        summary=summary,
        paper=ISOLA,
        data="mnist",
        latents=lambda classes: {"z": Uniform(dropout_size(SHAPE, width=width), 0.0, 1.0)},
        nets=nets,
        players=(d, g) if is_adversarial else (g,),
        schedule=alternate() if is_adversarial else simultaneous("G"),
        batch=16,
        steps=steps,
        picture=edges,
        conditions=(PICTURE,) if is_adversarial else (),
        log_every=100,
    )


RECIPES = (
    pix2pix("pix2pix_small", "edges to digits: a U-Net by L1 and a discriminator of patches", width=32, steps=12_000),
    pix2pix("pix2pix_l1_small", "the same U-Net by L1 alone", width=32, steps=12_000, is_adversarial=False),
)
