"""The grid's score against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import pytest
import torch

from benchmarks.training import ebgan_grid
from benchmarks.training.ebgan_grid import inception_prime
from training.data import load
from training.game.optimisers import adam
from training.metrics.classifier import classifier_for
from training.recipes.energy import grid
from training.report.journal import read_rows


def test_one_answer_for_every_sample_scores_nothing() -> None:
    """Where every sample looks the same to the classifier, p(y|x) is p(y)."""
    assert inception_prime(torch.tensor([[0.3, 0.7]] * 4)) == pytest.approx(0, abs=1e-9)


def test_sure_and_different_answers_score_high() -> None:
    """p(y) = 1/2, 1/2 against .9, .1 and .1, .9: KL is -1/2 ln(4 * .9 * .1) both times, and it is squared."""
    shares = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    assert inception_prime(shares) == pytest.approx((-0.5 * math.log(0.36)) ** 2, rel=1e-5)


@pytest.mark.slow
def test_a_game_of_other_steps_data_or_seed_is_another_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is played once, and the table counts those that were asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["TEST_CACHE"])
    counts = []
    for steps, seed in (("1", "0"), ("1", "0"), ("2", "0"), ("2", "1")):
        words = ["--points", "1", "--largest", "400", "--data", "digits", "--steps", steps, "--seed", seed, "--device", "cpu"]
        monkeypatch.setattr("sys.argv", ["ebgan_grid", *words, "--out", str(tmp_path)])
        ebgan_grid.main()
        counts.append(len(read_rows(tmp_path / "stats.jsonl")))
    assert counts == [3, 3, 6, 9]
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith(("gan ", "ebgan"))} == {"1"}
    row = read_rows(tmp_path / "stats.jsonl")[-1]
    assert (row["step"], row["data"], row["seed"]) == (2, "digits", 1)
    assert row["classifier"].startswith("lenet@")


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_game_that_breaks_in_its_last_steps_scores_nothing(device: str) -> None:
    """Also on a GPU, which looks at a loss some updates later."""
    data = load("digits", environ={})
    classifier = classifier_for(data, cache=Path(os.environ["TEST_CACHE"], "gan-serve", "classifiers"))
    recipe = next(recipe for recipe in grid(1, seed=0, steps=2, largest=400) if recipe.name.startswith("gan_"))
    players = tuple(dataclasses.replace(player, optimiser=adam(math.inf)) for player in recipe.players)
    broken = dataclasses.replace(recipe, players=players)
    row = ebgan_grid.measure(broken, data.to(torch.device(device)), classifier, seed=0)
    assert row["score"] == 0
    assert "broke" in row
