"""Three losses on DCGAN's nets for MNIST: Qi's LS-GAN and GLS-GAN, Mao's least squares; each also without batch norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from torch import nn

from contract import Latents, Uniform
from training.game.objective import Loss
from training.game.optimisers import Clip, adam
from training.game.recipe import Nets, Player, Recipe
from training.game.schedules import Schedule, Update
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.least_squares import d_least_squares, g_least_squares
from training.losses.margin import d_margin, g_margin
from training.nets import conv
from training.nets.judges import LossFunction, without_norm
from training.nets.layers import initialise_he

T = TypeVar("T", bound=nn.Module)
QI = "Qi 2017, arXiv:1701.06264; nets of DCGAN"
MARGIN_SCALE = 2e-4 * 3 * 64 * 64
"""lambda of guojunq/lsgan and guojunq/glsgan times the values of their images: the margin is as large on smaller ones."""
GLS_INPUTS = 8192
"""Inputs of the head of their D.

Clipped weights behind batch normalisation limit how far D's values are apart, in proportion to these inputs. So is the margin:
with theirs, a smaller D never reaches it and the slope never acts.
"""
GLS_SLOPE, GLS_RATE, GLS_BOUND = 0.5, 1e-4, 0.04
"""Values that stood together in guojunq/glsgan (7 and 8 March 2017); its later ones are LS-GAN's with clipped weights."""

same_fakes = Schedule("alternate(1:1, G on D's fakes)", lambda step: (Update(("D",)), Update(("G",), False, False)))
"""G moves on the very reals and latents that D moved on: Qi's code hands D's fakes on."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What tells one loss of this page from another."""

    summary: str
    paper: str
    d_loss: Callable[[int], Loss]
    """D's loss, by the number of inputs of its head."""
    g_loss: Loss
    rate: float
    batch: int
    schedule: Schedule
    judge: Callable[[conv.ConvDiscriminator], nn.Module] = lambda net: net
    """What D is, given DCGAN's."""
    clip: float | None = None
    """The greatest weight of D; None lets them grow."""


SETUPS = {
    "dcgan_torch": Setup(
        summary="DCGAN as soumith/dcgan.torch trains it: what Qi's losses are compared with",
        paper="Radford et al. 2016, arXiv:1511.06434; soumith/dcgan.torch",
        d_loss=lambda inputs: d_nonsaturating,
        g_loss=g_nonsaturating,
        rate=2e-4,
        batch=64,
        schedule=same_fakes,
    ),
    "ls_gan": Setup(
        summary="Qi's loss-sensitive GAN: a fake costs more than a real by their distance",
        paper=QI,
        d_loss=lambda inputs: d_margin(MARGIN_SCALE),
        g_loss=g_margin,
        rate=1e-4,
        batch=64,
        schedule=same_fakes,
        judge=lambda net: LossFunction(net, is_nonnegative=True),
    ),
    "gls_gan": Setup(
        summary="its generalisation: a leaky slope instead of the hinge, D's weights clipped",
        paper=QI,
        d_loss=lambda inputs: d_margin(MARGIN_SCALE * inputs / GLS_INPUTS, slope=GLS_SLOPE),
        g_loss=g_margin,
        rate=GLS_RATE,
        batch=64,
        schedule=same_fakes,
        judge=lambda net: LossFunction(net, is_nonnegative=False),
        clip=GLS_BOUND,
    ),
    "least_squares": Setup(
        summary="Mao's least squares GAN, targets -1, 1 and 0",
        paper="Mao et al. 2017, arXiv:1611.04076; nets of DCGAN",
        d_loss=lambda inputs: d_least_squares,
        g_loss=g_least_squares,
        rate=2e-4,
        batch=64,
        schedule=same_fakes,
    ),
}


def on_dcgan(
    name: str,
    setup: str,
    *,
    width: int = 64,
    dense: int = 1024,
    steps: int = 20_000,
    bare: tuple[str, ...] = (),
    note: str = "",
) -> Recipe:
    """A recipe of this page on DCGAN's nets for MNIST.

    Args:
        name: name of the recipe.
        setup: key of ``SETUPS``.
        width: channels before the image.
        dense: units of the dense layer.
        steps: number of steps.
        bare: nets without batch normalisation, ``G`` or ``D``; biases replace it, and He's initialisation replaces N(0, .02),
            by which signals fade where nothing normalises them.
        note: end of the summary.
    """
    part = SETUPS[setup]

    def strip(role: str, net: T) -> T:
        return without_norm(initialise_he(net)) if role in bare else net

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = conv.dense_generator(100, shape, width=width, dense=dense, last=nn.Tanh())
        d = conv.dense_discriminator(shape, width=width, dense=dense)
        return {"G": strip("G", g), "D": part.judge(strip("D", d))}

    optimiser = adam(part.rate, (0.5, 0.999))
    clip = Clip(part.clip) if part.clip else None
    return Recipe(
        name=name,
        summary=part.summary + note,
        paper=part.paper,
        data="mnist",
        latents=lambda classes: {"z": Uniform(100)},
        nets=nets,
        players=(
            Player(name="D", nets=("D",), loss=part.d_loss(dense), optimiser=optimiser, after=clip),
            Player(name="G", nets=("G",), loss=part.g_loss, optimiser=optimiser),
        ),
        schedule=part.schedule,
        batch=part.batch,
        steps=steps,
    )


small = partial(on_dcgan, width=32, dense=512, steps=6000)
"""A game in the size that one core plays in a quarter of an hour."""
NARROW = ", half as wide"
BARE = {"bare": ("G", "D"), "bare_g": ("G",)}
WITHOUT = {"bare": ", without batch normalisation", "bare_g": ", G without batch normalisation"}
RECIPES = (
    *(on_dcgan(setup, setup) for setup in SETUPS),
    *(on_dcgan(f"{setup}_bare", setup, bare=("G", "D"), note=WITHOUT["bare"]) for setup in SETUPS),
    *(small(f"{setup}_small", setup, note=NARROW) for setup in SETUPS),
    *(
        small(f"{setup}_{kind}_small", setup, bare=roles, note=NARROW + WITHOUT[kind])
        for kind, roles in BARE.items()
        for setup in SETUPS
    ),
)
