"""R3GAN: relativistic pairs, R1 and R2, modern residual nets; as published for StackedMNIST, and in a size for two cores."""

from __future__ import annotations

from contract import Latents, Normal
from training.game.burn_in import AdamSchedule, Cosine, HalfLife
from training.game.objective import Loss
from training.game.optimisers import adam
from training.game.recipe import Ema, Nets, Player, Recipe, d_and_g
from training.game.schedules import alternate
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.relativistic import d_relativistic, g_relativistic
from training.nets import conv
from training.nets.augment import Augmented
from training.nets.residual import Discriminator, Generator, Stage
from training.penalties import r1_r2

HUANG = "Huang et al. 2024, arXiv:2501.05441; brownvc/R3GAN"


def r3gan(
    name: str,
    *,
    data: str,
    size: int | None,
    stages: tuple[Stage, ...],
    batch: int,
    images: int,
    burn_in: int,
    rate: tuple[float, float],
    gamma: tuple[float, float],
    half_life: int,
    summary: str,
    pace: float = 1.0,
    is_augmented: bool = False,
) -> Recipe:
    """Adam(0, beta2) with beta2 from .9 to .99, and gamma, rate and the average's half-life on the same cosine.

    Args:
        name: of the recipe.
        data: its data set.
        size: side of the images.
        stages: of both nets, from the smallest map to the image; fewer where the images are smaller.
        batch: reals an update; D and G each draw their own.
        images: how long, in reals shown to D.
        burn_in: until when settings glide, in the same count.
        rate: from and to which the rate glides.
        gamma: the same of the penalties' weight.
        half_life: of the average at the end of the burn-in, in the same count.
        summary: one line.
        pace: G's rate as a share of D's. With small batches G, whose every output moves with a few weights, leaps over D.
        is_augmented: whether D sees augmented images.
    """
    over = burn_in // batch
    optimiser = adam(rate[0], (0.0, 0.9))

    def hyperparameters(share: float) -> AdamSchedule:
        start, end = rate
        return AdamSchedule(Cosine(share * start, share * end, over), 0.0, Cosine(0.9, 0.99, over))

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        fitting = tuple(stage for number, stage in enumerate(stages) if shape[-1] >= 4 << number)
        d = Discriminator(shape, fitting)
        return {"G": Generator(64, shape, fitting), "D": Augmented(d) if is_augmented else d}

    return Recipe(
        name=name,
        summary=summary,
        paper=HUANG,
        data=data,
        size=size,
        latents=lambda classes: {"z": Normal(64)},
        nets=nets,
        players=(
            Player(
                name="D",
                nets=("D",),
                loss=d_relativistic + r1_r2(Cosine(*gamma, over)),
                optimiser=optimiser,
                hyperparameters=hyperparameters(1.0),
            ),
            Player(name="G", nets=("G",), loss=g_relativistic, optimiser=optimiser, hyperparameters=hyperparameters(pace)),
        ),
        schedule=alternate(is_new_batch=True),
        ema=Ema(HalfLife(Cosine(0.0, half_life, over), batch)),
        batch=batch,
        steps=images // batch,
    )


def on_plain_nets(name: str, d_loss: Loss, g_loss: Loss, summary: str) -> Recipe:
    """R3GAN's game, or another under the same penalties, on the default recipe's plain convolutions, for two cores."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        g = conv.small_generator(64, 0, shape, width=32)
        return {"G": g, "D": conv.small_unlabelled_discriminator(shape, width=32)}

    return Recipe(
        name=name,
        summary=summary,
        paper=f"{HUANG}; nets of our own",
        data="stackedmnist",
        latents=lambda classes: {"z": Normal(64)},
        nets=nets,
        players=d_and_g(d_loss + r1_r2(lambda step: 1.0), g_loss, adam(3e-4, (0.0, 0.99))),
        schedule=alternate(is_new_batch=True),
        ema=Ema(0.999),
        batch=64,
        steps=10_000,
    )


RECIPES = (
    r3gan(
        "r3gan",
        data="stackedmnist",
        size=32,
        stages=(Stage(768, groups=96),) * 4,
        batch=512,
        images=10_000_000,
        burn_in=2_000_000,
        rate=(2e-4, 2e-4),
        gamma=(1.0, 0.1),
        half_life=500_000,
        summary="relativistic pairs, R1 and R2 on StackedMNIST, the published run (hours on a large GPU)",
    ),
    r3gan(
        "r3gan_small",
        data="mnist",
        size=None,
        stages=(Stage(96, groups=6, blocks=1), Stage(48, groups=3, blocks=1), Stage(16, groups=1, blocks=1)),
        batch=32,
        images=32 * 3000,
        burn_in=32 * 3000,
        rate=(1e-3, 1e-4),
        pace=0.2,
        gamma=(1.0, 1.0),
        half_life=32 * 200,
        summary="the same game with nets for two cores, on any 28x28 images: MNIST, Fashion-MNIST, StackedMNIST",
    ),
    r3gan(
        "r3gan64",
        data="folder:images",
        size=64,
        stages=(*(Stage(768, groups=96),) * 4, Stage(384, groups=48)),
        batch=256,
        images=20_000_000,
        burn_in=20_000_000,
        rate=(2e-4, 5e-5),
        gamma=(2.0, 0.2),
        half_life=500_000,
        is_augmented=True,
        summary="the published game for FFHQ at 64x64 on images in a folder, by DiffAugment, for a large GPU",
    ),
    on_plain_nets(
        "r3gan_plain",
        d_relativistic,
        g_relativistic,
        "relativistic pairs, R1 and R2 on StackedMNIST with plain convolutions, for two cores",
    ),
    on_plain_nets(
        "gan_r1_r2_plain",
        d_nonsaturating,
        g_nonsaturating,
        "the first GAN's losses with R1 and R2 on the same nets: what relativistic pairs are compared with",
    ),
)
