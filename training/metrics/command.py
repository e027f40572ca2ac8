"""``python -m training score``: find data and classifier, measure, write scores.json next to the model, print the table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table

from contract import Card, Image
from training.data import DataSet, MissingPart, load, of_card, stacked
from training.errors import ScoreError
from training.export.model_card import next_to
from training.files import cache_folder, write_json
from training.metrics.classifier import Classifier, classifier_for, has_classifier
from training.metrics.sampled import sample_model
from training.metrics.score import Scores, check_shape, score
from training.metrics.stacked import SAMPLES as STACKED_SAMPLES

CLASSIFIERS = "classifiers"
"""Folder of trained classifiers in the cache folder."""
WHOLE = {"mnist5k": "mnist"}
"""A data set that is a part of another, against which a model of it is measured where that one is on this machine."""

LEARNED = {stacked.NAME: "mnist"}
"""A data set whose classifier is trained and examined on another."""
SAMPLES = {stacked.NAME: STACKED_SAMPLES}
"""How many samples the published figures of a data set are taken on, where it is not 10,000."""


def run_score(
    model: Path,
    *,
    data: str | None = None,
    classifier_data: str | None = None,
    samples: int | None = None,
    nearest: int | None = None,
    environ: Mapping[str, str],
    console: Console,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Score a model file: print the table, write ``scores.json`` next to the file, return what was written.

    Of a variant, ``model-NAME.onnx``, the file is ``scores-NAME.json``; of any other ``NAME.onnx`` it is ``NAME-scores.json``.

    Args:
        model: an exported ONNX file.
        data: what to measure against; None takes the data set on the model's card, and for mnist5k all of MNIST where that
            is on this machine.
        classifier_data: the labelled data set that the classifier learns from; None takes ``data``, for StackedMNIST MNIST, and
            where ``data`` has no labels or images below 8x8, no classifier.
        samples: how many seeds, from 0; None takes what the data's published figures are taken on, or 10,000.
        nearest: how many seeds the 1-NN classifier is fitted on; None takes ``samples``.
        environ: the environment, for ``DATA_ROOT``, ``XDG_CACHE_HOME`` and ``HOME``.
        console: where to print.
        device: where the classifier and the distances between pixels run; the model itself always runs on the CPU.

    Raises:
        ScoreError, CardError, DataError: one sentence with what is wrong and what would do.
    """
    if samples is not None and samples < 2:  # before a classifier is trained for minutes
        raise ScoreError(f"samples must be at least 2, got {samples}")
    if nearest is not None and nearest < 1:
        raise ScoreError(f"nearest must be at least 1, got {nearest}")
    first = sample_model(model, 1)
    card = first.card
    for option, value in (("--classifier", classifier_data), ("--nearest", nearest)):
        if value is not None and not isinstance(card.output, Image):
            raise ScoreError(f"{option} is for models of images, and {card.name} makes {card.output.kind}: leave it out")
    size = card.output.height if isinstance(card.output, Image) else None
    name = data or _reference(card, model.parent, environ)
    train = load(name, size=size, environ=environ)
    check_shape(first, train)
    learned = classifier_data or LEARNED.get(name)
    classifier = _find_classifier(learned, train, size, environ, console, device)
    examination = None if name not in LEARNED else _test(LEARNED[name], size, environ)
    scores = score(
        model,
        train,
        _test(name, size, environ),
        samples=samples or SAMPLES.get(name, 10_000),
        classifier=classifier,
        examination=examination,
        nearest=nearest,
        device=device,
    )
    written = scores.to_json()
    variant = model.stem.removeprefix("model-") if model.stem.startswith("model-") else None
    try:
        write_json(next_to(model, f"scores-{variant}.json" if variant else "scores.json"), written)
    finally:  # what took minutes is kept on a full disk, and where no terminal takes it
        print_scores(scores, console)
    return written


def _reference(card: Card, folder: Path, environ: Mapping[str, str]) -> str:
    own = of_card(card.data, folder)
    whole = WHOLE.get(own)
    return whole if whole is not None and _test(own, None, environ) is not None else own


def _test(name: str, size: int | None, environ: Mapping[str, str]) -> DataSet | None:
    try:
        return load(name, split="test", size=size, environ=environ)
    except MissingPart:
        return None


def _find_classifier(
    classifier_data: str | None,
    data: DataSet,
    size: int | None,
    environ: Mapping[str, str],
    console: Console,
    device: torch.device | str,
) -> Classifier | None:
    known = data if classifier_data is None else load(classifier_data, size=size, environ=environ)
    if classifier_data is None and not has_classifier(known):
        return None
    return classifier_for(
        known,
        cache=cache_folder(environ) / CLASSIFIERS,
        device=device,
        say=partial(console.print, markup=False, highlight=False),
    )


def print_scores(scores: Scores, console: Console) -> None:
    """Print the table, the classifier's accuracy, the classes, the alarm and the notes."""
    numbers = [Column(name, justify="right") for name in ("value", "real data", "samples")]
    title = f"{scores.model} ({scores.digest[:12]}) against {scores.data}"
    table = Table(Column("measure", no_wrap=True), *numbers, "by", title=title)
    for row in scores.rows:
        real = "-" if row.real is None else _number(row.real, row.real_error)
        table.add_row(row.measure, _number(row.value, row.error), real, f"{row.samples:,}", row.by)
    console.print(table)
    if scores.classifier is not None:
        console.print(_describe_classifier(scores.classifier), markup=False, highlight=False)
    if scores.histogram:
        console.print("classes: " + ", ".join(f"{name} {share:.1%}" for name, share in scores.histogram.items()), markup=False)
    for note in scores.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    if scores.alarm is not None:
        console.print(scores.alarm, style="bold red", markup=False, highlight=False)


def _describe_classifier(classifier: Mapping[str, Any]) -> str:
    learned = f"{classifier['name']} learned from {classifier['data']}"
    if classifier["held_out"]:
        text = f"{learned}; right on {classifier['accuracy_held_out']:.2%} of {classifier['held_out']:,} held out"
    else:
        text = f"{learned}, all of them, so how often it is right is not known"
    if classifier["accuracy_reference"] is None:
        return text
    return f"{text}, on {classifier['accuracy_reference']:.2%} of the {classifier['reference']:,} of the reference"


def _number(value: float, error: float | None) -> str:
    return f"{value:.4g}" if error is None else f"{value:.4g} ± {error:.2g}"
