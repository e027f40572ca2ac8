"""Convolutional GANs: DCGAN, and the small class-conditional one that ``make train`` plays by default."""

from __future__ import annotations

from torch import nn

from contract import Categorical, Latents, Normal, Uniform
from contract.latents import classes_of
from training.game.optimisers import LinearDecay, adam
from training.game.recipe import Ema, Hyperparameters, Nets, Recipe, d_and_g
from training.game.schedules import alternate, simultaneous
from training.losses.adversarial import d_nonsaturating, d_other_classes, g_nonsaturating
from training.nets import conv
from training.penalties import r1

RADFORD = "Radford et al. 2016, arXiv:1511.06434; Newmu/dcgan_code"
MNIST_RATE = LinearDecay(2e-4)
"""As ``mnist/train_cond_dcgan.py`` has it; ``faces/train_uncond_dcgan.py`` keeps its rate."""

WRONG_LABELS = 0.03
"""Weight of real samples with wrong labels in the default recipe."""


def dcgan(
    name: str,
    *,
    data: str,
    size: int,
    width: int,
    steps: int,
    summary: str,
    batch: int = 128,
    dense: int | None = None,
    hyperparameters: Hyperparameters | None = None,
) -> Recipe:
    """DCGAN as its authors' code has it; D and G are updated in turn, each on a batch of its own.

    ``dense`` is the width of the dense layer that their nets for 28x28 images have; None takes their nets for faces.
    """
    optimiser = adam(2e-4, (0.5, 0.999), weight_decay=1e-5)

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        if dense is None:
            g = conv.dcgan_generator(100, shape, width=width, last=nn.Tanh())
            return {"G": g, "D": conv.dcgan_discriminator(shape, width=width)}
        g = conv.dense_generator(100, shape, width=width, dense=dense, last=nn.Tanh())
        return {"G": g, "D": conv.dense_discriminator(shape, width=width, dense=dense)}

    return Recipe(
        name=name,
        summary=summary,
        paper=RADFORD,
        data=data,
        size=size,
        latents=lambda classes: {"z": Uniform(100)},
        nets=nets,
        players=d_and_g(d_nonsaturating, g_nonsaturating, optimiser, hyperparameters),
        schedule=alternate(is_new_batch=True),
        batch=batch,
        steps=steps,
    )


def cdcgan_r1(name: str, summary: str) -> Recipe:
    """Ours: 32 base channels, one-hot label into G, projection discriminator without batch normalisation, lazy R1.

    Real samples with wrong labels are fakes, too, at a small weight; at a larger one samples show their class in nearly all
    cases and are less varied.
    """

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        classes = classes_of(latents)
        return {
            "G": conv.small_generator(64, classes, shape, width=32),
            "D": conv.small_discriminator(classes, shape, width=32),
        }

    return Recipe(
        name=name,
        summary=summary,
        paper="projection of Miyato and Koyama 2018, arXiv:1802.05637; R1 of Mescheder et al. 2018, arXiv:1801.04406; "
        "wrong labels of Reed et al. 2016, arXiv:1605.05396",
        data="mnist5k",
        latents=lambda classes: {"z": Normal(64), "y": Categorical(classes)},
        nets=nets,
        players=d_and_g(
            d_nonsaturating + WRONG_LABELS * d_other_classes + r1(1.0, every=8), g_nonsaturating, adam(1.5e-3, (0.5, 0.99))
        ),
        schedule=simultaneous(),
        ema=Ema(0.998),
        batch=64,
        steps=2700,
        conditions=("y",),
        bfloat16="equal",
    )


RECIPES = (
    cdcgan_r1("cdcgan_r1", "the default: a small class-conditional DCGAN with R1, good digits in three minutes on two cores"),
    dcgan(
        "dcgan",
        data="mnist",
        size=28,
        width=64,
        dense=1024,
        steps=20_000,
        hyperparameters=MNIST_RATE,
        summary="DCGAN on 28x28 grey images",
    ),
    dcgan(
        "dcgan_small",
        data="mnist",
        size=28,
        width=32,
        dense=512,
        steps=6000,
        hyperparameters=MNIST_RATE,
        summary="the same, half as wide",
    ),
    dcgan(
        "dcgan32",
        data="mnist",
        size=32,
        width=64,
        steps=20_000,
        hyperparameters=MNIST_RATE,
        summary="DCGAN on 32x32 grey images",
    ),
    dcgan("dcgan64", data="folder:images", size=64, width=128, steps=50_000, summary="DCGAN on 64x64 images in a folder"),
    dcgan(
        "dcgan64_small",
        data="folder:images",
        size=64,
        width=16,
        steps=3000,
        batch=64,
        summary="the same, an eighth as wide",
    ),
)
