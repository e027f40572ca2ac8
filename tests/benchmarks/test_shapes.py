"""Pictures of known factors, and what is counted in samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.shapes import (
    COLOURS,
    FACTORS,
    PLACES,
    SHAPES,
    as_tensor,
    break_pictures,
    draw_pictures,
    fit_classifier,
    main,
    measure,
)


def test_every_combination_is_drawn_alike_often() -> None:
    """360 pictures show each of 180 combinations twice, with the figure where its factors say."""
    pictures, factors = draw_pictures(360, seed=0)
    assert sorted(map(tuple, factors)) == sorted([*FACTORS, *FACTORS])
    for picture, (_, colour, place) in zip(pictures, factors, strict=True):
        ink = np.abs(picture.astype(int) - list(COLOURS.values())[colour]).sum(2) < 3
        centre = np.argwhere(ink).mean(0)
        assert np.abs(centre - [PLACES[place // 3], PLACES[place % 3]]).max() < 5


def test_the_folder_has_a_sub_folder_for_each_shape(tmp_path: Path) -> None:
    """PNG files of 64x64."""
    main(["draw", str(tmp_path), "--count", "40"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(SHAPES)
    files = list(tmp_path.rglob("*.png"))
    assert (len(files), Image.open(files[0]).size) == (40, (64, 64))


@pytest.mark.slow
def test_recall_counts_whole_figures_only() -> None:
    """Fresh pictures show nearly every combination, broken ones hardly any, and one picture many times shows one."""
    classifier = fit_classifier(1800, 6)
    pictures, _ = draw_pictures(360, seed=2)
    broken = break_pictures(pictures, np.random.default_rng(0))
    assert measure(classifier, as_tensor(pictures)).recall > 0.9
    assert measure(classifier, as_tensor(broken)).whole < 0.2
    assert measure(classifier, as_tensor(np.repeat(pictures[:1], 100, 0))).recall <= 1 / len(FACTORS)
