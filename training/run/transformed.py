"""Examine a recipe that changes pictures: what becomes of the pictures of unseen images, next to the images themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from training.data import DataSet
from training.data.pixels import to_unit
from training.errors import TrainingError
from training.export.sample_grid import evaluating
from training.files import write_json
from training.game.loop import Game
from training.game.priors import from_priors
from training.metrics.classifier import has_classifier
from training.metrics.images import laplacian_energy
from training.run.context import JobContext
from training.run.directory import EXAMINATION
from training.run.job import open_run, unseen

BATCH = 500


def refuse_options(recipe: str, **options: object) -> None:
    """Refuse options of ``score`` that would change nothing; raises TrainingError with the first that was given."""
    for name, value in options.items():
        if value is not None:
            raise TrainingError(f"--{name} is for models that make samples; {recipe} changes pictures: leave it out")


def examine_transformed(context: JobContext, asked: int | None = None) -> dict[str, float]:
    """Measure the newest checkpoint on the data's test part; print the values, and write examination.json.

    Where the data has no test part here, its training images are taken, and the printed line says so. All of its images are
    measured, so that the figures of two runs are of the same ones; a line says so where another number was asked for.

    Returns:
        ``accuracy`` and ``accuracy-real``: shares of changed and of real images in which the classifier sees the image's class;
        ``sharpness``: the Laplacian energy of changed images over that of real ones; ``l1``: mean difference of a pixel, 0..1.

    Raises:
        TrainingError, DataError: fewer than two samples are asked for, the run has no checkpoint, or its data cannot be loaded.
    """
    if asked is not None and asked < 2:
        raise TrainingError(f"samples must be at least 2, got {asked}")
    game, data = open_run(context)
    test, part = unseen(game, data, context)
    if asked not in (None, len(test)):
        context.say(f"--samples {asked} changes nothing: all {len(test):,} {part} images of {data.name} are measured")
    made, real = change(game, test), test.items.float() / 255
    values = {"sharpness": laplacian_energy(made) / laplacian_energy(real), "l1": float((made - real).abs().mean())}
    written = {"step": game.step, "data": data.name, "samples": len(test)}
    if test.labels is not None and has_classifier(data):
        classifier = context.classifier_of(data)
        written["classifier"] = classifier.name
        values["accuracy"] = classifier.accuracy_on((made * 255).round().to(torch.uint8), test.labels)
        values["accuracy-real"] = classifier.accuracy_on(test.items, test.labels)
    listed = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    context.say(f"on {len(test):,} {part} samples of {data.name}: {listed}")
    write_json(context.run / EXAMINATION, {**written, "values": values})
    return values


@torch.no_grad()
def change(game: Game, data: DataSet) -> Tensor:
    """The images, float32 [N,C,H,W] in 0..1, that the sampler makes of the pictures of a data set's images."""
    recipe = game.recipe
    assert recipe.picture is not None
    module, parts = recipe.sampler(game.sampling_nets()), []
    torch.manual_seed(game.seed)
    with evaluating(module):
        for items in data.items.split(BATCH):
            latents = from_priors(game.latents, len(items), game.device)
            x: Tensor = module(**latents, picture=recipe.picture(game.batches.scale(items)))
            parts.append(to_unit(x, recipe.pixels))
    return torch.cat(parts).clamp(0, 1)
