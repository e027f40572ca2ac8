"""What the training tests share: every recipe in a size that two cores play in seconds."""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch.onnx._internal.exporter._registration import ONNXRegistry

from training.data import load
from training.game.check import LATE
from training.game.recipe import Recipe
from training.game.schedules import Schedule, Update
from training.metrics import lenet
from training.recipes import CATALOGUE
from training.recipes.ppgn import Chain
from training.run import job
from training.run.config import RunConfig
from training.run.context import JobContext

logging.getLogger("torch.__trace").setLevel(logging.WARNING)  # pytest takes all records, so torch makes them, of every tensor
torch.set_num_threads(1)  # nets this small run best on one core, and give the same bytes in every process

PROCESSES = multiprocessing.get_context("forkserver")
"""Makes processes that may be killed, each with all that a job imports late imported already, which takes seconds."""
PROCESSES.set_forkserver_preload(
    [
        *("training.__main__", "onnxruntime", "matplotlib.figure", "matplotlib.backends.backend_agg"),
        *("onnxscript", "torch._dynamo", "torch.onnx._internal.exporter._core", "tests.training.conftest"),
    ]
)
ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]
"""Each export translated the exporter's library anew, for a second; nothing here adds to it."""

AS_SMALL_TWIN = {"r3gan64": "r3gan_small"}
"""Recipes with the game and the nets of a small one that has another name."""
REHEARSED = tuple(name for name in CATALOGUE if f"{name}_small" not in CATALOGUE and name not in AS_SMALL_TWIN)
"""The recipes that are trained to the end, exported and served in tests: where a game has a small twin, that one."""
MOST_UPDATES = 6
TINY_SIDES = {"r3gan": 4, "r3gan64": 4, "progan": 4, "progan_whole": 4}
"""Images on which a large net is still played in seconds."""


def tiny_config(recipe: str, folder: Path, *, steps: int) -> RunConfig:
    """A config of that recipe on data that needs no download, in small batches; image folders at 16x16."""
    bundled = {"mnist": "mnist5k", "mnist50k": "mnist5k", "stackedmnist": "mnist5k", "oracle": "oracle-small"}
    bundled["folder:images"] = f"folder:{folder}"
    data = bundled.get(CATALOGUE[recipe].data)
    size = TINY_SIDES.get(recipe, 16 if data == f"folder:{folder}" else None)
    return RunConfig(recipe=recipe, data=data, size=size, steps=steps, batch=8, seed=1, export="last")


def tiny_context(run: Path) -> JobContext:
    """A run on the CPU whose words go nowhere; all tests of a session share its cache of classifiers."""
    environ = {"XDG_CACHE_HOME": os.environ["TEST_CACHE"]}
    console = Console(file=io.StringIO())
    return JobContext(
        run=run, device=torch.device("cpu"), environ=environ, console=console, grids=2, checkpoints=2, checkpoint_seconds=0
    )


@contextmanager
def few_updates(recipe: str) -> Iterator[None]:
    """Keep the last updates of each step of a recipe, and add one of each kind of its last phase where that has others.

    WGAN's critic has a hundred updates in each of the first steps, and SeqGAN's game begins after thousands. PPGN's chain of
    sampling is cut to two steps, each of which takes the exporter a second.
    """
    full = CATALOGUE[recipe]

    def updates(step: int) -> tuple[Update, ...]:
        now = full.schedule.updates(step)
        later = [update for update in dict.fromkeys(full.schedule.updates(LATE)) if update not in now]
        return (*now, *later)[-MOST_UPDATES:]

    schedule = Schedule(full.schedule.name, updates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CATALOGUE, recipe, replace(shortened(full), schedule=schedule))
        yield


def shortened(recipe: Recipe) -> Recipe:
    """The recipe with a chain of two steps where its sampler, or a variant's, is one."""

    def cut(sampler: Any) -> Any:
        return replace(sampler, steps=2) if isinstance(sampler, Chain) else sampler

    variants = tuple(replace(variant, sampler=cut(variant.sampler)) for variant in recipe.variants)
    return replace(recipe, sampler=cut(recipe.sampler), variants=variants)


@contextmanager
def quick_classifiers() -> Iterator[None]:
    """Fit a classifier that is not in the cache yet to a tenth of its images."""
    fit = lenet.trained
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lenet, "trained", lambda images, labels, **options: fit(images[::10], labels[::10], **options))
        yield


def fit_classifier(data: str, place: Path) -> None:
    """Put a quick classifier of a data set into the cache of all tests, where the programs that they start find it."""
    with quick_classifiers():
        tiny_context(place).classifier_of(load(data, environ={}))


def train_tiny(config: RunConfig, run: Path, is_exported: bool = True) -> None:
    """Train to the last step, with a classifier fitted to a tenth of the images where the job needs one.

    The export takes most of the time, and some tests need none.
    """
    with few_updates(config.recipe), quick_classifiers(), pytest.MonkeyPatch.context() as patch:
        if not is_exported:
            patch.setattr(job, "export_game", lambda *arguments: None)
        assert job.train(config, tiny_context(run))


def train_and_wait(config: RunConfig, run: Path) -> None:
    """Train to the last step, and wait to be killed instead of exporting: the run does not end, however late the kill comes."""
    with few_updates(config.recipe), quick_classifiers(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "export_game", lambda *arguments: threading.Event().wait())
        job.train(config, tiny_context(run))


def train_in_process(config: RunConfig, run: Path, *, kill_after: int | None = None, is_exported: bool = True) -> int:
    """Train in another process and return its exit code; ``kill_after`` sends SIGKILL once that step's checkpoint exists."""
    target, more = (train_tiny, (is_exported,)) if kill_after is None else (train_and_wait, ())
    process = PROCESSES.Process(target=target, args=(config, run, *more))
    process.start()
    while kill_after is not None and process.is_alive():
        steps = [int(path.stem.split("-")[1]) for path in run.glob("checkpoint-*.pt")]
        if max(steps, default=0) >= kill_after:
            process.kill()
            break
        time.sleep(0.002)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two states of a game differ."""
    if isinstance(a, dict):
        return [d for key in {**a, **b} for d in differences(a.get(key), b.get(key), f"{path}.{key}")]
    if isinstance(a, list | tuple):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}.{i}")]
    is_equal = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if is_equal else [path]


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small colour pictures of noise."""
    folder = tmp_path_factory.mktemp("pictures")
    dice = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(dice.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{number}.png")
    return folder
