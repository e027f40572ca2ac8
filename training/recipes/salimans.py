"""Semi-supervised learning by feature matching: D learns ten classes from a few labels and from what G makes it look for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import nn

from contract import Latents, Uniform
from training.errors import TrainingError
from training.game.batches import Batches
from training.game.optimisers import adam_inside
from training.game.recipe import Ema, Nets, Recipe, d_and_g
from training.game.schedules import alternate, simultaneous
from training.game.step import Batch
from training.losses.feature_matching import d_labelled, d_semi_supervised, g_feature_matching
from training.metrics.codes import count_errors, labels_of
from training.nets import weight_norm
from training.nets.labelled import Labelled, choose

CLASSES = 10
FITTED_ON = 500
"""Real samples from which D's weights take their scales."""


def salimans(
    name: str, summary: str, *, per_class: int, steps: int, decay: float = 0.9999, is_supervised: bool = False
) -> Recipe:
    """openai/improved-gan, mnist_svhn_cifar10/train_mnist_feature_matching.py, at that many labels a class.

    ``is_supervised`` trains D by the labels alone and leaves G untrained: what the game adds is the difference in errors.
    """
    d_loss = d_labelled if is_supervised else d_semi_supervised
    d, g = d_and_g(d_loss, g_feature_matching, adam_inside(3e-3, (0.5, 0.999)))

    def nets(shape: tuple[int, ...], latents: Latents) -> Nets:
        return {
            "G": weight_norm.generator(100, [500, 500], shape).requires_grad_(not is_supervised),
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
        players=(d,) if is_supervised else (d, g),
        schedule=simultaneous("D") if is_supervised else alternate(is_new_batch=True),
        ema=Ema(decay, ("D",)),
        batch=100,
        steps=steps,
        pixels="unit",
        examine=examine,
        log_every=100,
    )


def label(per_class: int) -> Callable[[Mapping[str, nn.Module], Batches, int], None]:
    """A recipe's ``prepare``: chooses the labelled samples by the run's seed, and fits D's weights to 500 real samples."""

    def prepare(nets: Mapping[str, nn.Module], batches: Batches, seed: int) -> None:
        if batches.labels is None or int(batches.labels.max()) + 1 != CLASSES:
            raise TrainingError(f"this recipe learns {CLASSES} classes, and the data has other ones or none")
        try:
            chosen = choose(batches.labels, per_class, seed=seed)
        except ValueError as error:
            raise TrainingError(f"the data has too few samples for this recipe: {error}") from None
        known = batches.rows(chosen)
        assert known.y is not None
        labelled = cast(Labelled, nets["labelled"])
        labelled.x.copy_(known.x)
        labelled.y.copy_(known.y)
        some = torch.randperm(len(batches), generator=torch.Generator().manual_seed(seed))[:FITTED_ON]
        cast(weight_norm.WeightNormClassifier, nets["D"]).fit(batches.rows(some.to(batches.labels.device)).x)

    return prepare


def examine(nets: Mapping[str, nn.Module], test: Batch) -> dict[str, float]:
    """How many test samples the averaged D names wrongly: the paper's table 1, "93 +- 6.5" of MNIST's 10,000 at 100 labels.

    Returns:
        ``errors``, a count, and ``error``, its share.

    Raises:
        ScoreError: the samples have no labels.
    """
    labels = labels_of(test)
    errors = count_errors(torch.cat([nets["D"](x).logit for x in test.x.split(1000)]), labels)
    return {"errors": float(errors), "error": errors / len(labels)}


LONG, SHORT = 300 * 600, 16_000
"""300 epochs of 600 batches for D, as published, and 27."""

LABELS = (("salimans", 10), ("salimans_20", 2), ("salimans_50", 5), ("salimans_200", 20))
"""Name, and labels a class."""

RECIPES = (
    *(salimans(name, f"ten classes from {10 * n} labels; D is the classifier", per_class=n, steps=LONG) for name, n in LABELS),
    *(
        salimans(f"{name}_small", f"the same from {10 * n} labels for 27 epochs", per_class=n, steps=SHORT, decay=0.999)
        for name, n in LABELS
    ),
    salimans(
        "salimans_supervised",
        "ten classes from 100 labels and nothing else: what the game is compared with",
        per_class=10,
        steps=SHORT,
        decay=0.999,
        is_supervised=True,
    ),
)
