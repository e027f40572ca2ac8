"""Samples of a game under way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.conftest import tiny_context
from training.export import sample_grid
from training.export.sample_grid import make_sample_grid, sample_game
from training.run.config import RunConfig
from training.run.job import set_up


def test_large_samples_are_made_in_smaller_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same up to a grey level: a thousand of 128x128 at once took gigabytes."""
    game, data = set_up(RunConfig(recipe="cdcgan_r1", data="digits"), tiny_context(tmp_path))
    overrides = [{"y": float(seed % 10)} for seed in range(20)]
    expected = sample_game(game, data, range(20), overrides)
    monkeypatch.setattr(sample_grid, "MOST_VALUES", 7 * 64)
    found = sample_game(game, data, range(20), overrides)
    assert found.shape == expected.shape == (20, 8, 8, 1)
    assert abs(found.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("recipe", "pixels", "count"),
    [
        ("vanilla", 64 * 64, 64),
        ("vanilla", 20 * 64, 20),
        ("vanilla", 64, 8),
        ("cdcgan_r1", 6400, 100),
        ("cdcgan_r1", 64 * 25, 20),
    ],
)
def test_a_grid_of_large_images_has_fewer(
    recipe: str, pixels: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least 8 images, or a row of classes, and only whole rows of those; each is the sample of its latents."""
    game, data = set_up(RunConfig(recipe=recipe, data="digits"), tiny_context(tmp_path))
    whole = make_sample_grid(game, data)
    monkeypatch.setattr(sample_grid, "MOST_PIXELS", pixels)
    found = make_sample_grid(game, data)
    assert len(found) == count
    assert abs(found.astype(int) - whole[:count].astype(int)).max() <= 1
