"""Semi-supervised learning by feature matching: D learns ten classes from a few labels and from what G makes it look for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import nn

from contract import Latents, Uniform
from training.errors import TrainingError
from training.losses.feature_matching import d_labelled, d_unlabelled, g_feature_matching
from training.metrics.codes import count_errors
from training.nets import weight_norm
from training.nets.labelled import Labelled, choose
from training.optimisers import adam
from training.recipe import Deck, Ema, Nets, Player, Recipe
from training.round import Batch
from training.schedules import alternate

CLASSES = 10
FITTED_ON = 500
"""Real samples from which D's weights take their scales."""


def salimans(name: str, summary: str, *, per_class: int, steps: int, decay: float = 0.9999) -> Recipe:
    """openai/improved-gan, mnist_svhn_cifar10/train_mnist_feature_matching.py, at that many labels a class.

    Its Adam has 1e-8 inside the root, which is 1e-4 outside of it where gradients are small.
    """
    optimiser = adam(3e-3, (0.5, 0.999), epsilon=1e-4)

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        return {
            "G": weight_norm.generator(100, [500, 500], shape),
            "D": weight_norm.classifier(shape, [1000, 500, 250, 250, 250], CLASSES),
            "labelled": Labelled(shape, CLASSES, per_class),
        }

    return Recipe(
        name=name,
        summary=summary,
        paper="Salimans et al. 2016, arXiv:1606.03498; openai/improved-gan",
        data="mnist",
        latents=lambda classes: {"z": Uniform(100, 0.0, 1.0)},
        nets=nets,
        prepare=label(per_class),
        players=(
            Player(name="D", nets=("D",), loss=d_labelled + d_unlabelled, optimiser=optimiser),
            Player(name="G", nets=("G",), loss=g_feature_matching, optimiser=optimiser),
        ),
        schedule=alternate(is_new_batch=True),
        ema=Ema(decay, ("D",)),
        batch=100,
        steps=steps,
        pixels="unit",
        examine=examine,
        log_every=100,
    )


def label(per_class: int) -> Callable[[Mapping[str, nn.Module], Deck, int], None]:
    """A recipe's ``prepare``: chooses the labelled samples by the run's seed, and fits D's weights to 500 real samples."""

    def prepare(nets: Mapping[str, nn.Module], deck: Deck, seed: int) -> None:
        if deck.labels is None or int(deck.labels.max()) + 1 != CLASSES:
            raise TrainingError(f"this recipe learns {CLASSES} classes, and the data has other ones or none")
        known = deck.rows(choose(deck.labels, per_class, seed=seed))
        assert known.y is not None
        labelled = cast(Labelled, nets["labelled"])
        labelled.x.copy_(known.x)
        labelled.y.copy_(known.y)
        some = torch.randperm(len(deck), generator=torch.Generator().manual_seed(seed))[:FITTED_ON]
        cast(weight_norm.Classifier, nets["D"]).fit(deck.rows(some.to(deck.labels.device)).x)

    return prepare


def examine(nets: Mapping[str, nn.Module], test: Batch) -> dict[str, float]:
    """How many test samples the averaged D names wrongly: the paper's table 1, "93 +- 6.5" of MNIST's 10,000 at 100 labels.

    Returns:
        ``errors``, a count, and ``error``, its share.
    """
    assert test.y is not None
    errors = count_errors(torch.cat([nets["D"](x).logit for x in test.x.split(1000)]), test.y)
    return {"errors": float(errors), "error": errors / len(test.y)}


LONG = 300 * 600
"""300 epochs of 600 batches for D."""

RECIPES = (
    salimans("salimans", "ten classes from 100 labels, D tested", per_class=10, steps=LONG),
    salimans("salimans_20", "the same from 20 labels", per_class=2, steps=LONG),
    salimans("salimans_50", "the same from 50 labels", per_class=5, steps=LONG),
    salimans("salimans_200", "the same from 200 labels", per_class=20, steps=LONG),
    salimans("salimans_small", "the same from 100 labels for 12 epochs", per_class=10, steps=7200, decay=0.999),
)
