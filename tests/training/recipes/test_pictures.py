"""The recipes for a folder of pictures, with and without classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract import Categorical
from tests.training.conftest import tiny_config, tiny_context
from training.errors import TrainingError
from training.game.loop import play
from training.run.job import card_of, set_up


@pytest.fixture
def classes_folder(tmp_path: Path) -> Path:
    """Eight pictures in each of two sub-folders."""
    dice = np.random.default_rng(0)
    for number in range(16):
        folder = tmp_path / "pictures" / ("cats" if number % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dice.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def test_sub_folders_are_classes(classes_folder: Path, tmp_path: Path) -> None:
    """G and D receive the class, and the card names the classes."""
    game, data = set_up(tiny_config("dcgan64_r1_small", classes_folder, steps=1), tiny_context(tmp_path))
    list(play(game, 1))
    assert game.latents["y"] == Categorical(2)
    assert game.recipe.conditions == ("y",)
    assert card_of(game, data).classes == ("cats", "dogs")


def test_a_folder_without_sub_folders_has_none(picture_folder: Path, tmp_path: Path) -> None:
    """The same recipe is unconditional there."""
    game, data = set_up(tiny_config("dcgan64_r1_small", picture_folder, steps=1), tiny_context(tmp_path))
    list(play(game, 1))
    assert list(game.latents) == ["z"]
    assert game.recipe.conditions == ()
    assert card_of(game, data).classes == ()


def test_other_conditional_recipes_need_labels(picture_folder: Path, tmp_path: Path) -> None:
    """One sentence names the recipe and the data."""
    config = tiny_config("cdcgan_r1", picture_folder, steps=1)
    with pytest.raises(TrainingError, match="cdcgan_r1 needs labelled data"):
        set_up(config.__class__(**{**vars(config), "data": f"folder:{picture_folder}"}), tiny_context(tmp_path))


def test_a_recipe_that_makes_its_own_labels_needs_none(picture_folder: Path, tmp_path: Path) -> None:
    """The angles of the conditional adversarial autoencoder are drawn, and do not depend on classes."""
    config = replace(tiny_config("caae_small", picture_folder, steps=1), data=f"folder:{picture_folder}", size=28)
    game, _ = set_up(config, tiny_context(tmp_path))
    assert list(play(game, 1)) == [1]
