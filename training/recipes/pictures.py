"""DCGAN on a folder of images with the remedies of the default recipe, for few images, and with classes where there are any."""

from __future__ import annotations

from torch import nn

from contract import Categorical, Latents, Normal
from contract.latents import classes_of
from training.game.optimisers import adam
from training.game.recipe import Ema, Nets, Recipe, d_and_g
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.nets import conv
from training.nets.augment import Augmented
from training.penalties import r1

SOURCES = (
    "nets after Radford et al. 2016, arXiv:1511.06434; R1 of Mescheder et al. 2018, arXiv:1801.04406; "
    "DiffAugment of Zhao et al. 2020, arXiv:2006.10738"
)


def dcgan_r1(
    name: str, summary: str, *, z: int, width: int, gamma: float, rate: float, decay: float, batch: int, steps: int
) -> Recipe:
    """The default recipe's pair at 64x64 and lazy R1; D sees augmented images; sub-folders of the folder are classes."""

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        classes = classes_of(latents)
        d: nn.Module = (
            conv.small_discriminator(classes, shape, width=width)
            if classes
            else conv.small_unlabelled_discriminator(shape, width=width)
        )
        return {"G": conv.small_generator(z, classes, shape, width=width), "D": Augmented(d)}

    return Recipe(
        name=name,
        summary=summary,
        paper=SOURCES,
        data="folder:images",
        size=64,
        latents=lambda classes: {"z": Normal(z), **({"y": Categorical(classes)} if classes else {})},
        nets=nets,
        players=d_and_g(d_nonsaturating + r1(gamma, every=8), g_nonsaturating, adam(rate, (0.5, 0.99))),
        ema=Ema(decay),
        batch=batch,
        steps=steps,
        conditions=("y",),
        are_labels_optional=True,
    )


RECIPES = (
    dcgan_r1(
        "dcgan64_r1",
        "DCGAN with R1, an average of G and DiffAugment, for a folder of few images; sub-folders are classes",
        z=128,
        width=64,
        gamma=0.1,
        rate=2e-4,
        decay=0.999,
        batch=64,
        steps=50_000,
    ),
    dcgan_r1(
        "dcgan64_r1_small",
        "the same a quarter as wide, for two cores",
        z=64,
        width=16,
        gamma=0.1,
        rate=1e-3,
        decay=0.998,
        batch=32,
        steps=5000,
    ),
)
