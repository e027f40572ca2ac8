"""What a run's configuration accepts, and how it answers mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contract import check_names
from tests.training.conftest import tiny_context
from training.errors import TrainingError
from training.run.config import RunConfig, differences, read_config, read_ranks
from training.run.job import card_of, set_up


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
        ('{"plan": {"recipe": "toy1d"}}', "it must have 'config'"),
        pytest.param(100_000 * "[", "(maximum recursion depth|Stack overflow)", id="nested too deep"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """A configuration of other types, as after an edit by hand, names the key."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(TrainingError, match=rf"config\.json is damaged: .*{sentence}"):
        read_config(tmp_path)


def test_a_setting_of_a_newer_version_is_named(tmp_path: Path) -> None:
    """The file is not called damaged, and the sentence says what to do."""
    (tmp_path / "config.json").write_text('{"config": {"recipe": "toy1d", "warm_up": 3, "steps": 1}}')
    with pytest.raises(TrainingError, match=r"has 'warm_up', which this version does not know: use the version that wrote it"):
        read_config(tmp_path)


def test_steps_have_nine_digits_at_most() -> None:
    """A checkpoint of a later step would not be found, since its name is of another length."""
    assert RunConfig(recipe="toy1d", steps=10**9 - 1).resolve().steps == 999_999_999
    with pytest.raises(TrainingError, match="steps must be at most 999,999,999, got 1,000,000,000"):
        RunConfig(recipe="toy1d", steps=10**9).resolve()


@pytest.mark.parametrize("ranks", ["null", "[]", '"x"', "-1", '{"x": 1}', '{"0": null}'])
def test_damaged_ranks_are_one_sentence(tmp_path: Path, ranks: str) -> None:
    """The record of the number of processes, as after an edit by hand."""
    (tmp_path / "config.json").write_text(f'{{"ranks": {ranks}}}')
    with pytest.raises(TrainingError, match=r"config\.json is damaged: ranks must"):
        read_ranks(tmp_path, before=1)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (None, {}),
        ("{}", {"0": 1}),
        ('{"ranks": {"0": 2, "4": 1, "5": 3}}', {"0": 2, "4": 1}),
    ],
)
def test_ranks_are_those_of_the_steps_before(tmp_path: Path, kept: str | None, expected: dict[str, int]) -> None:
    """A new run has none, and a run of a release that recorded none was trained by one process."""
    if kept is not None:
        (tmp_path / "config.json").write_text(kept)
    assert read_ranks(tmp_path, before=5) == expected


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("pictures", "toy1d-folder-pictures"),
        ("Meine Bilder (für mich)", "toy1d-folder-Meine-Bilder-fur-mich"),
        ("写真", "toy1d-folder"),
        (60 * "long", f"toy1d-folder-{12 * 'long'}lon"),
    ],
)
def test_a_model_of_any_folder_can_be_requested(folder: str, name: str, tmp_path: Path) -> None:
    """Its name has only what a URL may hold: else the service would refuse the model after the training."""
    game, data = set_up(RunConfig(recipe="toy1d"), tiny_context(tmp_path))
    card = card_of(game, replace(data, name=f"folder:{folder}"))
    check_names(card)
    assert card.name == name


def test_what_differs_between_two_runs_is_told_in_words() -> None:
    """Steps and export may differ, and a default that is spelt out is no difference."""
    before = RunConfig(recipe="vanilla", steps=5)
    spelt = RunConfig(recipe="vanilla", data=before.resolve().data, batch=before.resolve().batch, steps=9, export="last")
    assert differences(before, spelt) == []
    assert differences(before, RunConfig(recipe="toy1d")) == ["recipe vanilla, not toy1d"]
    assert differences(before, replace(before, data="digits", batch=7, seed=3, gate="worse-only")) == [
        f"data {before.resolve().data}, not digits",
        f"batch {before.resolve().batch}, not 7",
        "gate always, not worse_only(0.3)",
        "seed 0, not 3",
    ]
