"""Whether a model that turns digits turns them as asked and keeps them: by classifiers of the angle and of the digit."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.scoreboard.measures import Measure, is_of_model, read_json
from benchmarks.scoreboard.results import Measurement
from contract import draw, picture_inputs
from contract.card import card_from_metadata
from training.data import DataSet, load
from training.export.runtime import open_session
from training.files import cache_folder, write_json
from training.metrics.classifier import classifier_for
from training.metrics.command import CLASSIFIERS
from training.recipes.caae import AGES, rotate
from training.run.job import MODEL

TURNED = "turned.json"
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Turned(Measure):
    """A share of unseen digits, turned to one age and then by the model to another: ``age-read`` or ``digit-kept``."""

    name: str
    images: int = 2_000

    def read(self, run: Path) -> Measurement:
        """The value of that name in turned.json, which is made of the model where it is not there or older."""
        path = run / TURNED
        if not is_of_model(path, run):
            write_json(path, turn(run / MODEL, self.images))
        values = read_json(path)
        return Measurement(
            measure=self.name,
            value=values[self.name],
            real=values[f"{self.name}-real"],
            samples=self.images,
            by="test part of mnist, turned",
            others=values,
        )


def turn(model: Path, images: int) -> dict[str, float]:
    """Shares of test images whose asked age, and whose digit, classifiers of turned digits see; ``-real`` without the model."""
    digits, test = (load("mnist", split=split, environ=os.environ) for split in ("train", "test"))
    dice = torch.Generator().manual_seed(0)
    ages = torch.randint(AGES, (len(digits),), generator=dice)
    turned = dataclasses.replace(digits, name="mnist-turned", items=at_age(digits.items, ages))
    by_age = dataclasses.replace(turned, labels=ages, classes=tuple(map(str, range(AGES))))
    cache = cache_folder(os.environ) / CLASSIFIERS
    x, digit = test.items[:images], _labels(test)[:images]
    has, asked = torch.randint(AGES, (2, images), generator=dice)
    shown = {"": _change(model, at_age(x, has), asked), "-real": at_age(x, asked)}
    values: dict[str, float] = {}
    for name, known, wanted in (("age-read", by_age, asked), ("digit-kept", turned, digit)):
        classifier = classifier_for(known, cache=cache, say=print)
        values |= {f"{name}{kind}": classifier.accuracy_on(items, wanted) for kind, items in shown.items()}
    return values


def at_age(items: Tensor, age: Tensor) -> Tensor:
    """Images uint8 [N,1,H,W], turned as the recipe's training turns them."""
    parts = zip(items.split(5_000), age.split(5_000), strict=True)
    return torch.cat([((rotate(x / 127.5 - 1, a) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8) for x, a in parts])


def _change(model: Path, pictures: Tensor, ages: Tensor) -> Tensor:
    """What the file makes of pictures uint8 [N,1,H,W] at the ages asked for."""
    session = open_session(model.read_bytes(), intra_op_threads=0)
    card = card_from_metadata(session.get_modelmeta().custom_metadata_map)
    assert card.picture is not None
    made = []
    for start in range(0, len(pictures), BATCH):
        rows = range(start, min(start + BATCH, len(pictures)))
        given = picture_inputs(card.picture, list(pictures[rows.start : rows.stop].permute(0, 2, 3, 1).numpy()))
        latents = {**draw(card.latents, rows), "age": ages[rows.start : rows.stop].numpy()}
        made.append(session.run(None, {**latents, **given})[0])
    return torch.from_numpy(np.concatenate(made)).permute(0, 3, 1, 2).contiguous()


def _labels(data: DataSet) -> Tensor:
    assert data.labels is not None
    return data.labels
