"""Pictures of known factors, and what is counted in samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from benchmarks.shapes import COLOURS, FACTORS, PLACES, SHAPES, SIDE, SIZES, Shown, break_pictures, draw_pictures, main, measure


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
    with Image.open(files[0]) as picture:
        assert (len(files), picture.size) == (40, (64, 64))


class Reader:
    """A classifier that reads the factors, and whether the picture is whole, from four pixels."""

    def features(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :4].long()

    def logits(self, features: Tensor) -> Tensor:
        return torch.cat([functional.one_hot(features[:, i], size) for i, size in enumerate(SIZES)], 1).float()


def test_recall_counts_whole_pictures_once() -> None:
    """Three samples of one combination, one of another, and a broken one of a third are two combinations of 180."""
    images = torch.zeros(5, 3, SIDE, SIDE, dtype=torch.uint8)
    rows = [(1, 2, 3, 1)] * 3 + [(3, 4, 8, 1), (0, 0, 0, 0)]
    images[:, 0, 0, :4] = torch.tensor(rows, dtype=torch.uint8)
    assert measure(Reader(), images) == Shown(recall=2 / 180, whole=0.8)


def test_broken_pictures_are_not_the_whole_ones() -> None:
    """Each of the five kinds changes the picture."""
    pictures, _ = draw_pictures(20, seed=2)
    broken = break_pictures(pictures, np.random.default_rng(0))
    assert [number for number in range(20) if np.array_equal(pictures[number], broken[number])] == []
