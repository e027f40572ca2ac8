"""What a run's configuration accepts, and how it answers mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import TrainingError
from training.run.config import RunConfig, read_config, read_ranks


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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"config": {"recipe": 1}}', "recipe must be str, got 1"),
        ('{"config": {"recipe": "toy1d", "steps": "x"}}', r"steps must be int \| None, got 'x'"),
        ('{"config": {"recipe": "toy1d", "seed": null}}', "seed must be int, got None"),
        ('{"config": null}', "must be a mapping"),
        (100_000 * "[", "maximum recursion depth"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """A configuration of other types, as after an edit by hand, names the key."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(TrainingError, match=rf"config\.json is damaged: .*{sentence}"):
        read_config(tmp_path)


@pytest.mark.parametrize("ranks", ["null", "[]", '"x"', "-1", '{"x": 1}', '{"0": null}'])
def test_damaged_ranks_are_one_sentence(tmp_path: Path, ranks: str) -> None:
    """The record of the number of processes, as after an edit by hand."""
    (tmp_path / "config.json").write_text(f'{{"ranks": {ranks}}}')
    with pytest.raises(TrainingError, match=r"config\.json is damaged: ranks must"):
        read_ranks(tmp_path, before=1)
