"""Whether a model that turns digits turns them as asked and keeps them: by classifiers of the angle and of the digit."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.scoreboard.measures import Measure, read_json
from benchmarks.scoreboard.results import Measurement
from contract import draw, picture_inputs
from contract.card import card_from_metadata
from training.data import DataSet, load
from training.export.runtime import open_session
from training.files import cache_folder, write_json
from training.metrics.classifier import Classifier, classifier_for
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
    data: str = "mnist"

    def read(self, run: Path) -> Measurement:
        """The value of that name in turned.json, which is made anew for another model, count or classifier."""
        trial = prepare(self.data)
        values = turn(run, self.images, trial)
        return Measurement(
            measure=self.name,
            value=values[self.name],
            real=values[f"{self.name}-real"],
            samples=self.images,
            by=f"test part of {self.data}, turned",
            classifier=trial.classifiers[self.name].name,
            others=values,
        )


@dataclass(frozen=True)
class Trial:
    """What models are asked, and by which classifiers their answers are seen."""

    data: str
    classifiers: Mapping[str, Classifier]
    """By the name of what they measure, classifiers of the age and of the digit, which learned from turned digits."""
    dice: torch.Generator
    """Gives the ages that are asked for."""


def prepare(data: str) -> Trial:
    """Classifiers from the cache, or trained now."""
    digits, dice = load(data, environ=os.environ), torch.Generator().manual_seed(0)
    ages = torch.randint(AGES, (len(digits),), generator=dice)
    turned = dataclasses.replace(digits, name=f"{data}-turned", items=at_age(digits.items, ages))
    by_age = dataclasses.replace(turned, labels=ages, classes=tuple(map(str, range(AGES))))
    cache, known = cache_folder(os.environ) / CLASSIFIERS, {"age-read": by_age, "digit-kept": turned}
    return Trial(data, {name: classifier_for(of, cache=cache, say=print) for name, of in known.items()}, dice)


def turn(run: Path, images: int, trial: Trial) -> dict[str, float]:
    """Shares of test images whose asked age, and whose digit, the classifiers see; ``-real`` without the model.

    They are kept in turned.json, with the digest of the model, the number of images and the classifiers.
    """
    path, model = run / TURNED, (run / MODEL).read_bytes()
    asked = {
        "model": hashlib.sha256(model).hexdigest(),
        "data": trial.data,
        "samples": images,
        "classifiers": {name: one.name for name, one in trial.classifiers.items()},
    }
    kept = read_json(path) if path.exists() else {}
    if {**kept, **asked} == kept:
        return dict(kept["values"])
    test = load(trial.data, split="test", environ=os.environ)
    x, digit = test.items[:images], _labels(test)[:images]
    has, age = torch.randint(AGES, (2, len(x)), generator=trial.dice)
    shown = {"": _change(model, at_age(x, has), age), "-real": at_age(x, age)}
    values = {
        f"{name}{kind}": trial.classifiers[name].accuracy_on(items, wanted)
        for name, wanted in (("age-read", age), ("digit-kept", digit))
        for kind, items in shown.items()
    }
    write_json(path, {**asked, "values": values})
    return values


def at_age(items: Tensor, age: Tensor) -> Tensor:
    """Images uint8 [N,1,H,W], turned as the recipe's training turns them."""
    parts = zip(items.split(5_000), age.split(5_000), strict=True)
    return torch.cat([((rotate(x / 127.5 - 1, a) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8) for x, a in parts])


def _change(model: bytes, pictures: Tensor, ages: Tensor) -> Tensor:
    """What the file makes of pictures uint8 [N,1,H,W] at the ages asked for."""
    session = open_session(model, intra_op_threads=0)
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
