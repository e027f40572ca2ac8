"""The reconstruction error where it is known in closed form, and of a trained run."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from contract import Categorical, Normal, Uniform
from tests.training.conftest import tiny_config, tiny_context, train_tiny
from training.data import DataSet
from training.game.loop import Game
from training.metrics.reconstruction import Search, reconstruct
from training.run.compare import RECONSTRUCTION, run_reconstruction
from training.run.config import RunConfig
from training.run.context import JobContext
from training.run.job import open_run, train

HARD = Search(steps=400, restarts=1, batch=7)


@pytest.mark.slow
def test_a_linear_generator_leaves_the_residual_of_least_squares() -> None:
    """x = A z + b: the distance is that of x - b to the columns of A, over more images than a batch."""
    dice = np.random.default_rng(0)
    a, b, x = dice.normal(size=(6, 3)), dice.normal(size=6), dice.normal(size=(20, 6))
    residuals = (x - b).T - a @ np.linalg.lstsq(a, (x - b).T, rcond=None)[0]
    weights, bias, targets = (torch.from_numpy(value).float() for value in (a, b, x))

    def make(z: Mapping[str, Tensor]) -> Tensor:
        return z["z"] @ weights.T + bias

    found = reconstruct(make, {"z": Normal(3)}, targets, search=Search(steps=1500, restarts=1, batch=7))
    np.testing.assert_allclose(found.numpy(), np.sqrt((residuals**2).sum(0)), rtol=1e-3)


def test_uniform_latents_stay_within_their_bounds() -> None:
    """G(z) = z with z in -1..1: a target at 3 is 2 away, one at .5 is reached."""
    targets = torch.tensor([[3.0], [0.5], [-4.0]])
    found = reconstruct(lambda z: z["z"], {"z": Uniform(1)}, targets, search=HARD)
    torch.testing.assert_close(found, torch.tensor([2.0, 0.0, 3.0]), atol=0.02, rtol=0)


def test_the_label_is_the_targets_own() -> None:
    """G(z, y) = z + 100 y with z in -1..1: with the right label each target is reached, though no start would draw it."""
    labels = torch.tensor([7, 2, 9])
    found = reconstruct(
        lambda z: z["z"] + 100 * z["y"][:, None],
        {"z": Uniform(1), "y": Categorical(10)},
        100.0 * labels[:, None],
        search=HARD,
        labels=labels,
    )
    assert float(found.max()) < 0.05


def test_more_starts_find_no_worse_a_minimum() -> None:
    """Without moving, the best of thirty starts is at least as near as the best of one, and nearer for most."""
    targets = torch.zeros(40, 2)
    one, many = (
        reconstruct(lambda z: z["z"], {"z": Normal(2)}, targets, search=Search(steps=0, restarts=starts)) for starts in (1, 30)
    )
    assert bool((many <= one).all())
    assert int((many < one).sum()) > 30


@pytest.mark.slow
def test_a_run_is_measured_by_the_command(tmp_path: Path) -> None:
    """A toy run: each point of a line can be made, so the error is small; real data, steps and count are in the file."""
    environ = {"XDG_CACHE_HOME": os.environ["TEST_CACHE"]}
    context = JobContext(
        run=tmp_path, device=torch.device("cpu"), environ=environ, console=Console(file=io.StringIO()), grids=1
    )
    assert train(RunConfig(recipe="toy1d", steps=300), context)
    row = run_reconstruction(context, images=30, search=Search(steps=200, restarts=2))
    assert 0 <= row.value < 1
    assert row.real == pytest.approx(0, abs=0.01)
    assert row.samples == 30
    assert "200 steps, 2 starts" in row.by
    assert "||, units of the data, test part" in row.by
    assert json.loads((tmp_path / RECONSTRUCTION).read_text())["measure"] == "mre"


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "is_class"), [("infogan_small", False), ("cdcgan_small", True)])
def test_a_code_is_not_taken_for_the_class(
    recipe: str, is_class: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels are the classes of a conditional recipe; InfoGAN's ``y`` is a code that no one has named."""
    given: list[Tensor | None] = []

    def spy(make: Any, latents: Any, targets: Tensor, *, search: Search, labels: Tensor | None) -> Tensor:
        given.append(labels)
        return torch.ones(len(targets))

    train_tiny(tiny_config(recipe, tmp_path, steps=1), tmp_path / "run", is_exported=False)
    monkeypatch.setattr("training.run.compare.reconstruct", spy)
    run_reconstruction(tiny_context(tmp_path / "run"), images=3, search=Search(steps=1))
    assert [labels is not None for labels in given] == [is_class]


@pytest.mark.slow
def test_the_training_images_are_no_measure_of_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a test part, images of all classes are looked for, and no value of real data is given, which would be 0."""
    shown: list[Tensor] = []

    def spy(make: Any, latents: Any, targets: Tensor, *, search: Search, labels: Tensor) -> Tensor:
        shown.append(labels)
        return torch.ones(len(targets))

    def unseen(game: Any, data: DataSet, context: JobContext) -> tuple[DataSet, str]:
        return data, "training"

    def opened(context: JobContext) -> tuple[Game, DataSet]:
        game, data = open_run(context)
        assert data.labels is not None
        order = data.labels.argsort(stable=True)
        return game, replace(data, items=data.items[order], labels=data.labels[order])

    train_tiny(RunConfig(recipe="cdcgan_r1", data="digits", steps=1, batch=8), tmp_path, is_exported=False)
    for name, function in (("reconstruct", spy), ("unseen", unseen), ("open_run", opened)):
        monkeypatch.setattr(f"training.run.compare.{name}", function)
    row = run_reconstruction(tiny_context(tmp_path), images=30, search=Search(steps=1))
    assert (row.real, row.real_error) == (None, None)
    assert "||, pixels in 0..1, training part" in row.by
    assert len(shown[0].unique()) > 5
