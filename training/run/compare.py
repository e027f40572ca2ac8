"""``python -m training gmam|reconstruct``: measures that need a run's nets, from its newest checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import tyro
from rich.console import Console
from torch import Tensor

from training.data import DataSet
from training.errors import ScoreError, TrainingError
from training.export.sample_grid import sampler_of
from training.files import write_json
from training.game.loop import Game
from training.metrics.gmam import Contestant, compare
from training.metrics.neighbours import nearest_of
from training.metrics.reconstruction import Make, Search, reconstruct
from training.metrics.rows import ScoreRow
from training.metrics.score import mixed
from training.run.context import JobContext
from training.run.job import open_run, unseen
from training.run.launch import Device, device_of

RECONSTRUCTION = "reconstruction.json"
MOST_VALUES = 2**26
"""Values of training images that are in memory as float64 at once: 85,598 of MNIST."""


def gmam_file(first: Path) -> str:
    """What the comparison with a first run is called in the second's directory: by the run's name and a digest of its path."""
    path = first.resolve()
    return f"gmam-{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}.json"


@dataclass(frozen=True, kw_only=True)
class Gmam:
    """Compare two runs: the discriminators of each are applied to the other's generator. A positive value: the second is
    better.
    """

    first: tyro.conf.Positional[Path]
    """Run directory."""
    second: tyro.conf.Positional[Path]
    """Run directory, to which the result is written."""
    samples: int = 10_000
    """Number of samples of each run, and of real samples at most."""
    first_lambda: float | None = None
    """Weights of the first run's discriminators: 0 takes the mean of their values, inf the greatest; by default as learned."""
    second_lambda: float | None = None
    """The same for the second run's discriminators."""
    device: Device = "auto"
    """Device; auto is CUDA where there is a GPU."""

    def __call__(self, console: Console) -> int:
        if self.samples < 1:
            raise TrainingError(f"--samples must be at least 1, got {self.samples}")
        for name in ("first_lambda", "second_lambda"):
            if (value := getattr(self, name)) is not None and not value >= 0:  # not a number either
                raise TrainingError(f"--{name.replace('_', '-')} must be 0 or more, got {value:g}")
        context = JobContext(run=self.second, device=device_of(self.device), environ=os.environ, console=console)
        run_gmam(self.first, context, samples=self.samples, weights=Weights(first=self.first_lambda, second=self.second_lambda))
        return 0


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """Measure how near a run's generator comes to unseen images, by gradient descent on the latents."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    images: int = 200
    """Number of test images."""
    steps: int = 300
    """Number of gradient steps from each starting point."""
    restarts: int = 2
    """Number of starting points for each image; the best one counts."""
    device: Device = "auto"
    """Device; auto is CUDA where there is a GPU."""

    def __call__(self, console: Console) -> int:
        for name, least in (("images", 2), ("steps", 0), ("restarts", 1)):  # one image has no standard error
            if (value := getattr(self, name)) < least:
                raise TrainingError(f"--{name} must be at least {least}, got {value}")
        context = JobContext(run=self.run, device=device_of(self.device), environ=os.environ, console=console)
        run_reconstruction(context, images=self.images, search=Search(steps=self.steps, restarts=self.restarts))
        return 0


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How each game's discriminators are weighted: softmax of lambda times their values; None is as the game learned."""

    first: float | None = None
    second: float | None = None


def run_gmam(first: Path, context: JobContext, *, samples: int, weights: Weights) -> ScoreRow:
    """GMAM of a run over a first one, printed and stored next to its checkpoints.

    Raises:
        TrainingError, DataError: as ``open_run``; ScoreError: the two cannot be compared, or are one.
    """
    if first.resolve() == context.run.resolve():
        raise ScoreError(f"gmam compares two runs, and {first} and {context.run} are the same one")
    one, two = open_run(replace(context, run=first)), open_run(context)
    for run in (one, two):
        _require_latents_alone(*run)
    whole, part = unseen(*two, context)
    items, labels = mixed(whole)
    real = replace(whole, items=items, labels=labels)
    ours = Contestant(game=two[0], data=two[1], lam=weights.second)
    theirs = Contestant(game=one[0], data=one[1], lam=weights.first)
    found = compare(theirs, ours, real, samples=samples)
    count = min(samples, len(real))
    weighed = f"lambda {theirs.sharpness:g}, {ours.sharpness:g}"
    by = f"against {one[0].recipe.name}, {count:,} real images of the {part} part; {weighed}"
    if not found.is_agreed:
        by += f"; not agreed: {found.by_first:.3g} by the first's discriminators, {found.by_second:.3g} by the second's"
    row = ScoreRow(measure="gmam", value=found.value, real=0.0, samples=samples, by=by)
    _tell(row, context, context.run / gmam_file(first), more={"first": str(first.resolve()), **dataclasses.asdict(found)})
    return row


def run_reconstruction(context: JobContext, *, images: int, search: Search) -> ScoreRow:
    """Mean reconstruction error of the first test images, printed and kept in reconstruction.json.

    Its figure for real data is the mean distance of the same images to their nearest training image, which a generator reaches
    that reproduces the training images. Without a test part the images are of the training part, in a fixed order that does not
    go by class, and there is no such figure.

    Raises:
        TrainingError, DataError: as ``open_run``.
    """
    game, data = open_run(context)
    _require_latents_alone(game, data)
    real, part = unseen(game, data, context)
    items, labels = mixed(real)
    shown = _scaled(items[:images]).to(game.device)
    # Without labels as a condition, ``y`` is a code, which has its own values.
    given = labels[:images] if game.recipe.is_conditional and labels is not None else None
    errors = reconstruct(_maker(game, data), game.latents, shown, search=search, labels=given).double()
    nearest = None if real is data else _nearest(shown, data)
    how = f"Adam {search.rate:g}, {search.steps} steps, {search.restarts} starts"
    by = f"mean of ||x - G(z)||, {'pixels in 0..1' if data.is_image else 'units of the data'}, {part} part; {how}"
    count = len(shown)
    row = ScoreRow(
        measure="mre",
        value=float(errors.mean()),
        error=float(errors.std()) / count**0.5,
        real=None if nearest is None else float(nearest.mean()),
        real_error=None if nearest is None else float(nearest.std()) / count**0.5,
        samples=count,
        by=by,
    )
    _tell(row, context, context.run / RECONSTRUCTION)
    return row


def _require_latents_alone(game: Game, data: DataSet) -> None:
    if game.recipe.picture is not None:
        raise TrainingError(f"{game.recipe.name} takes a picture, too; this measure is for generators of latents alone")
    if data.vocabulary is not None:
        raise TrainingError(f"{game.recipe.name} makes sequences of tokens; this measure is for images and points")


def _nearest(shown: Tensor, data: DataSet) -> Tensor:
    """The distance of each item to the nearest of the data, [n]; both as ``_scaled`` gives them."""
    parts = data.items.split(max(1, MOST_VALUES // data.items[0].numel()))
    apart = [nearest_of(shown.flatten(1), _scaled(items.to(shown.device)).flatten(1))[0] for items in parts]
    return torch.stack(apart).amin(0)


def _scaled(items: Tensor) -> Tensor:
    """Images as float32 [N,C,H,W] in 0..1; points as they are."""
    return items.float() / 255 if items.dtype == torch.uint8 else items


def _maker(game: Game, data: DataSet) -> Make:
    """The generator in evaluation mode with frozen weights, from latents to what ``_scaled`` gives."""
    sampler = sampler_of(game, data)
    sampler.eval().requires_grad_(False)

    def make(z: Mapping[str, Tensor]) -> Tensor:
        levels = sampler.levels(*(z[name] for name in game.latents))
        return levels.permute(0, 3, 1, 2) / 255 if data.is_image else levels

    return make


def _tell(row: ScoreRow, context: JobContext, path: Path, more: Mapping[str, Any] = MappingProxyType({})) -> None:
    write_json(path, {**dataclasses.asdict(row), **more})
    error = "" if row.error is None else f" ± {row.error:.2g}"
    real = "" if row.real is None else f", real data {row.real:.4g}"
    context.say(f"{row.measure} {row.value:.4g}{error}{real}, {row.samples:,} samples, {row.by}")
