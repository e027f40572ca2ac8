"""The names of recipes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training.recipes import CATALOGUE, by_name

DCGAN = CATALOGUE["dcgan"]


def test_two_recipes_of_one_name_are_refused() -> None:
    """A new recipe does not silently take the place of another one."""
    with pytest.raises(ValueError, match="two recipes have the name 'dcgan'"):
        by_name([DCGAN, replace(DCGAN, steps=1)])


@pytest.mark.parametrize("name", ["", "two words", "../dcgan", "-dcgan"])
def test_a_name_is_that_of_a_folder(name: str) -> None:
    """Letters, digits, underscores and dashes."""
    with pytest.raises(ValueError, match="the name of a recipe must be letters"):
        by_name([replace(DCGAN, name=name)])
