"""What a run's configuration accepts, and how it answers mistakes."""

from __future__ import annotations

import pytest

from training.errors import TrainingError
from training.run.config import RunConfig


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cdgan", "there is no recipe 'cdgan'; did you mean cdcgan or cgan or dcgan?"),
        ("DCGAN", "there is no recipe 'DCGAN'; did you mean dcgan"),
        ("xyzzy", "there is no recipe 'xyzzy'; `python -m training list` shows all"),
    ],
)
def test_an_unknown_recipe_is_answered_with_the_nearest_names(name: str, sentence: str) -> None:
    """At most three names, and a hint at the list of all."""
    with pytest.raises(TrainingError) as caught:
        RunConfig(recipe=name).resolve()
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).endswith("`python -m training list` shows all")
    assert len(str(caught.value)) < 140
