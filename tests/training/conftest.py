"""What the training tests share: every recipe in a size that two cores play in seconds."""

from __future__ import annotations

import io
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from training.recipes import CATALOGUE
from training.run.config import RunConfig
from training.run.context import JobContext

PROCESSES = multiprocessing.get_context("forkserver")
"""Makes processes that may be killed, each with the job and the exporter imported already."""
PROCESSES.set_forkserver_preload(["training.run.job", "onnxscript", "torch._dynamo", "torch.onnx._internal.exporter._core"])

REHEARSED = tuple(name for name in CATALOGUE if f"{name}_small" not in CATALOGUE)
"""The recipes that are trained to the end, exported and served in tests: where a game has a small twin, that one."""
TINY_SIDES = {"r3gan": 4}
"""Images on which a large net is still played in seconds."""


def tiny_config(recipe: str, folder: Path, *, steps: int) -> RunConfig:
    """A config of that recipe on data that needs no download, in small batches; image folders at 16x16."""
    bundled = {"mnist": "mnist5k", "mnist50k": "mnist5k", "stackedmnist": "mnist5k", "folder:images": f"folder:{folder}"}
    data = bundled.get(CATALOGUE[recipe].data)
    size = 16 if data == f"folder:{folder}" else TINY_SIDES.get(recipe)
    return RunConfig(recipe=recipe, data=data, size=size, steps=steps, batch=8, seed=1)


def tiny_context(run: Path) -> JobContext:
    """A run on the CPU whose words go nowhere; all tests of a session share its cache of classifiers."""
    environ = {"XDG_CACHE_HOME": os.environ["TEST_CACHE"]}
    console = Console(file=io.StringIO())
    return JobContext(
        run=run,
        device=torch.device("cpu"),
        environ=environ,
        console=console,
        grids=4,
        checkpoints=4,
        checkpoint_seconds=0,
    )


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small colour pictures of noise."""
    folder = tmp_path_factory.mktemp("pictures")
    dice = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(dice.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{number}.png")
    return folder
