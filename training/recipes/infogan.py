"""InfoGAN: codes learned without labels, which Q, sharing D's layers, recovers from the samples."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from contract import Categorical, Latent, Latents, Uniform
from training.game.optimisers import adam
from training.game.recipe import Nets, Player, Recipe
from training.game.step import Batch
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.information import mutual_information
from training.metrics.codes import code_error, labels_of, match_codes
from training.nets import information

NOISE = 62
CODES: Mapping[str, Latent] = {"y": Categorical(10), "c": Uniform(2)}
"""What Q reads: one of ten, and two numbers. ``y`` is no label: which digit a value shows is found out by looking."""


def infogan(name: str, summary: str, *, data: str, width: int, dense: int, steps: int) -> Recipe:
    """launchers/run_mnist_exp.py; Q shares D's trunk and moves with D, and the information stands in both losses."""
    informed = -1.0 * mutual_information(CODES)

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        return {
            "G": information.generator(NOISE, 10, 2, shape, width=width, dense=dense),
            "D": information.discriminator(10, 2, shape, width=width, dense=dense),
        }

    return Recipe(
        name=name,
        summary=summary,
        paper="Chen et al. 2016, arXiv:1606.03657; openai/InfoGAN",
        data=data,
        latents=lambda classes: {"z": Uniform(NOISE), **CODES},
        nets=nets,
        players=(
            Player(name="D", nets=("D",), loss=d_nonsaturating + informed, optimiser=adam(2e-4, (0.5, 0.999))),
            Player(name="G", nets=("G",), loss=g_nonsaturating + informed, optimiser=adam(1e-3, (0.5, 0.999))),
        ),
        batch=128,
        steps=steps,
        pixels="unit",
        examine=examine,
    )


def examine(nets: Mapping[str, nn.Module], test: Batch) -> dict[str, float]:
    """The code as a classifier that saw no label: arXiv:1606.03657, section 7.2, "5 % error rate".

    Each value of ``y`` is matched to one class, by the matching that is right most often on these samples. Q has learned on
    batches of fakes, each normalised by itself, so batches of 500 real samples are normalised so, too: the running statistics
    are those of fakes and reals together, and by them the code is read worse.

    Returns:
        ``code-error``, a share, and the class that each value shows, ``y=0``: 7.

    Raises:
        ScoreError: the samples have no labels.
    """
    labels = labels_of(test)
    q = copy.deepcopy(nets["D"]).train()
    codes = torch.cat([q(x).heads["y"].argmax(1) for x in test.x.split(500)])
    shown = {f"y={code}": float(label) for code, label in match_codes(codes, labels).items()}
    return {"code-error": code_error(codes, labels), **shown}


RECIPES = (
    infogan(
        "infogan", "codes for digit, slant and width, found without labels", data="mnist", width=64, dense=1024, steps=5000
    ),
    infogan("infogan_small", "the same at half the width", data="mnist", width=32, dense=512, steps=5000),
)
