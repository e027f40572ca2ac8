"""Three losses on DCGAN's nets for MNIST: Qi's LS-GAN and GLS-GAN, Mao's least squares; each also without batch norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from contract import Latents, Uniform
from training.game.objective import Loss
from training.game.optimisers import Clip, adam
from training.game.recipe import Nets, Player, Recipe
from training.game.schedules import Schedule, Update, alternate
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.least_squares import d_least_squares, g_least_squares
from training.losses.margin import d_margin, g_margin
from training.nets import conv
from training.nets.judges import LossFunction, without_norm

T = TypeVar("T", bound=nn.Module)
QI = "Qi 2017, arXiv:1701.06264; nets of DCGAN"
MARGIN_SCALE = 2e-4 * 3 * 64 * 64
"""lambda of guojunq/lsgan and guojunq/glsgan times the values of their images: the margin is as large on smaller ones."""
GLS_SLOPE = 0.5
"""guojunq/glsgan's."""

same_fakes = Schedule("alternate(1:1, G on D's fakes)", lambda step: (Update(("D",)), Update(("G",), False, False)))
"""G moves on the very reals and latents that D moved on: Qi's code hands D's fakes on."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """What tells one loss of this page from another."""

    summary: str
    paper: str
    d_loss: Loss
    g_loss: Loss
    rate: float
    batch: int
    schedule: Schedule
    judge: Callable[[conv.ConvDiscriminator], nn.Module] = lambda net: net
    """What D is, given DCGAN's."""
    clip: float | None = None
    """The greatest weight of D; None lets them grow."""


GAMES = {
    "dcgan": Game(
        summary="DCGAN",
        paper="Radford et al. 2016, arXiv:1511.06434",
        d_loss=d_nonsaturating,
        g_loss=g_nonsaturating,
        rate=2e-4,
        batch=128,
        schedule=alternate(is_new_batch=True),
    ),
    "ls_gan": Game(
        summary="Qi's loss-sensitive GAN: a fake costs more than a real by their distance",
        paper=QI,
        d_loss=d_margin(MARGIN_SCALE),
        g_loss=g_margin,
        rate=1e-4,
        batch=64,
        schedule=same_fakes,
        judge=lambda net: LossFunction(net, is_nonnegative=True),
    ),
    "gls_gan": Game(
        summary="its generalisation: a leaky slope in the place of the hinge, D's weights clipped",
        paper=QI,
        d_loss=d_margin(MARGIN_SCALE, slope=GLS_SLOPE),
        g_loss=g_margin,
        rate=2e-4,
        batch=64,
        schedule=same_fakes,
        judge=lambda net: LossFunction(net, is_nonnegative=False),
        clip=0.08,
    ),
    "least_squares": Game(
        summary="Mao's least squares GAN, targets -1, 1 and 0",
        paper="Mao et al. 2017, arXiv:1611.04076; nets of DCGAN",
        d_loss=d_least_squares,
        g_loss=g_least_squares,
        rate=2e-4,
        batch=128,
        schedule=alternate(),
    ),
}


def on_dcgan(name: str, game: str, *, width: int = 64, steps: int = 20_000, has_norm: bool = True, note: str = "") -> Recipe:
    """A game of this page on DCGAN's nets, ``width`` channels before the image; without norm, biases stand in its place."""
    part = GAMES[game]

    def bare(net: T) -> T:
        return net if has_norm else without_norm(net)

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        d = part.judge(bare(conv.dcgan_discriminator(shape, width=width)))
        return {"G": bare(conv.dcgan_generator(100, shape, width=width, last=nn.Tanh())), "D": d}

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
            Player(name="D", nets=("D",), loss=part.d_loss, optimiser=optimiser, after=clip),
            Player(name="G", nets=("G",), loss=part.g_loss, optimiser=optimiser),
        ),
        schedule=part.schedule,
        batch=part.batch,
        steps=steps,
    )


SMALL_WIDTH, SMALL_STEPS = 32, 6000
"""What one core plays in a quarter of an hour."""
NARROW = ", half as wide"
BARE = ", without batch normalisation"
RECIPES = (
    *(on_dcgan(game, game) for game in GAMES if game != "dcgan"),
    *(on_dcgan(f"{game}_bare", game, has_norm=False, note=BARE) for game in GAMES),
    *(on_dcgan(f"{game}_small", game, width=SMALL_WIDTH, steps=SMALL_STEPS, note=NARROW) for game in GAMES),
    *(
        on_dcgan(f"{game}_bare_small", game, width=SMALL_WIDTH, steps=SMALL_STEPS, has_norm=False, note=NARROW + BARE)
        for game in GAMES
    ),
)
