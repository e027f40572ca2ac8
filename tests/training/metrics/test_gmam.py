"""GMAM by hand, and on trained games."""

from __future__ import annotations

import io
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from tests.training.conftest import tiny_context
from training.data import DataSet, load
from training.errors import ScoreError, TrainingError
from training.game.loop import Game
from training.game.schedules import Schedule
from training.game.step import DiscriminatorOutput
from training.metrics.gmam import Comparison, Contestant, aggregated, compare, gmam, value_of
from training.recipes import CATALOGUE
from training.run import compare as by_command
from training.run.compare import Weights, gmam_file, run_gmam
from training.run.config import RunConfig
from training.run.context import JobContext
from training.run.job import train


class Near(nn.Module):
    """A discriminator of gaussian1d that takes what is near a place for real."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(place))

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput(1 - (x[:, 0] - self.place).abs(), x)


class Shift(nn.Module):
    """A generator that adds a number to a narrow z."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(place))

    def forward(self, z: Tensor) -> Tensor:
        return self.place + z / 100


class Seven(nn.Module):
    """A lambda that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(7.0))

    def forward(self) -> Tensor:
        return self.value


def contestant(data: DataSet, place: float, *judges: float, lam: float | None = None) -> Contestant:
    """A game whose G stands at a place, with discriminators at others."""
    discriminators = {f"D{i}": Near(judge) for i, judge in enumerate(judges)}
    nets = nn.ModuleDict({"G": Shift(place), **discriminators}).requires_grad_(False)
    recipe = replace(
        CATALOGUE["toy1d"],
        batch=8,
        nets=lambda shape, latents: dict(nets.items()),
        players=(),
        schedule=Schedule("finished", lambda step: ()),
        transform_real=None,
    )
    return Contestant(game=Game(recipe, data, seed=0), data=data, lam=lam)


@pytest.fixture(scope="module")
def truth() -> DataSet:
    """Test points of the Gaussian around 4."""
    return load("gaussian1d", split="test", environ={})


def test_the_formula_is_the_logarithm_of_the_quotients() -> None:
    """log of (-3/-2) / (-1/-4) = log 6; swapping the games changes the sign; equal games are 0."""
    assert gmam([-3, -2], [-1, -4]).value == pytest.approx(math.log(6))
    assert gmam([-1, -4], [-3, -2]).value == pytest.approx(-math.log(6))
    assert gmam([-2, -2], [-5, -5]).value == 0


def test_each_games_discriminators_have_their_say() -> None:
    """Both prefer the second's: agreed. A game that takes its own noise for real, at -4.6, and what it never saw for fake, is
    surer of itself than the other is of the contrary: the sum is positive, and not agreed.
    """
    found = gmam([-3, -2], [-1, -4])
    assert [found.by_first, found.by_second] == pytest.approx([math.log(1.5), math.log(4)])
    assert found.is_agreed
    dead = gmam([-0.1, -0.5], [-0.02, -4.6])
    assert dead.value > 3
    assert not dead.is_agreed


@pytest.mark.parametrize("values", [[0.0, -1.0], [-math.inf, -1.0], [math.nan, -1.0]])
def test_values_that_have_no_quotient_are_refused(values: list[float]) -> None:
    """Zero, infinite and NaN say so."""
    with pytest.raises(ScoreError, match="must be below 0 and finite"):
        gmam(values, [-1.0, -1.0])


def test_the_value_of_an_undecided_discriminator_is_minus_log_4() -> None:
    """Logits of 0 give 2 log 1/2; of one that is sure and right 2 log .99, sure and wrong 2 log .01."""
    assert value_of(torch.zeros(5), torch.zeros(7)) == pytest.approx(-math.log(4))
    sure = torch.full((5,), 100.0)
    assert value_of(sure, -sure) == pytest.approx(2 * math.log(0.99))
    assert value_of(-sure, sure) == pytest.approx(2 * math.log(0.01))


def test_discriminators_are_weighted_by_their_values() -> None:
    """lambda 0 is the mean, infinity the greatest, in between by the softmax."""
    assert aggregated([-1, -3], 0) == pytest.approx(-2)
    assert aggregated([-1, -3], math.inf) == -1
    weight = 1 / (1 + math.exp(-2))
    assert aggregated([-1, -3], 1) == pytest.approx(-weight - 3 * (1 - weight))


def test_the_generator_nearer_to_the_data_wins(truth: DataSet) -> None:
    """Both discriminators know the data: positive for the second that is nearer, negative for the first, 0 for equals."""
    near, far = contestant(truth, 4.0, 4.0), contestant(truth, 1.0, 4.0)
    assert compare(far, near, truth, samples=200).value > 0.1
    assert compare(near, far, truth, samples=200).value == pytest.approx(-compare(far, near, truth, samples=200).value)
    assert compare(near, near, truth, samples=200).value == 0


def test_several_discriminators_count_as_told(truth: DataSet) -> None:
    """A second, untrained discriminator changes the mean, and not the greatest value."""
    near, far = contestant(truth, 4.0, 4.0), contestant(truth, 1.0, 4.0)
    alone = compare(far, near, truth, samples=200).value
    assert compare(far, contestant(truth, 4.0, 4.0, 50.0), truth, samples=200).value != pytest.approx(alone, rel=0.01)
    greatest = compare(far, contestant(truth, 4.0, 4.0, 50.0, lam=math.inf), truth, samples=200).value
    assert greatest == pytest.approx(alone)


def test_a_learned_weight_is_the_games_own(truth: DataSet) -> None:
    """A net called mix says lambda where none is given."""
    own = contestant(truth, 4.0, 4.0)
    assert own.sharpness == 0
    own.game.nets["mix"] = Seven()
    assert own.sharpness == 7
    assert replace(own, lam=2.0).sharpness == 2


def test_games_that_cannot_meet_are_refused(truth: DataSet) -> None:
    """Other data, and a missing discriminator, are named in the error."""
    own = contestant(truth, 4.0, 4.0)
    with pytest.raises(ScoreError, match=r"gaussian1d \[1\] and ring8 \[2\]"):
        compare(own, contestant(load("ring8", environ={}), 0.0, 0.0), truth, samples=10)
    with pytest.raises(ScoreError, match="no net called D"):
        compare(own, contestant(truth, 4.0), truth, samples=10)


@pytest.mark.slow
def test_two_runs_are_compared_by_the_command(tmp_path: Path) -> None:
    """Two trained runs of different lengths: a finite figure, the same read from the file, its negative the other way round."""
    environ = {"XDG_CACHE_HOME": os.environ["TEST_CACHE"]}
    settings = [
        JobContext(
            run=tmp_path / name, device=torch.device("cpu"), environ=environ, console=Console(file=io.StringIO()), grids=1
        )
        for name in "ab"
    ]
    for steps, context in zip((5, 40), settings, strict=True):
        assert train(RunConfig(recipe="toy1d_minibatch", steps=steps), context)
    row = run_gmam(settings[0].run, settings[1], samples=100, weights=Weights())
    back = run_gmam(settings[1].run, settings[0], samples=100, weights=Weights())
    assert row.value == pytest.approx(-back.value)
    assert json.loads((tmp_path / "b" / gmam_file(tmp_path / "a")).read_text())["value"] == row.value
    assert "test part" in row.by


def play(monkeypatch: pytest.MonkeyPatch, games: dict[Path, Contestant], data: DataSet) -> list[DataSet]:
    """Let the command open these games; returns the list of the real items that it compares on."""
    shown: list[DataSet] = []

    def spy(first: Contestant, second: Contestant, real: DataSet, *, samples: int) -> Comparison:
        shown.append(real)
        return Comparison(0.1, 0.2)

    monkeypatch.setattr(by_command, "open_run", lambda context: (games[context.run].game, data))
    monkeypatch.setattr(by_command, "unseen", lambda game, data, context: (data, "training"))
    monkeypatch.setattr(by_command, "compare", spy)
    return shown


def test_runs_of_one_name_do_not_share_a_file(truth: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison is in a file of its own, with the path of the first run; a comparison with itself is refused."""
    runs = [tmp_path / "A" / "r", tmp_path / "B" / "r", tmp_path / "other"]
    same = runs[2] / ".." / "other"
    for run in runs:
        run.mkdir(parents=True)
    play(monkeypatch, dict.fromkeys([*runs, same], contestant(truth, 4.0, 4.0)), truth)
    for first in runs[:2]:
        run_gmam(first, tiny_context(runs[2]), samples=10, weights=Weights())
    found = sorted(json.loads(path.read_text())["first"] for path in runs[2].glob("gmam-r-*.json"))
    assert found == [str(run) for run in runs[:2]]
    with pytest.raises(ScoreError, match=r"gmam compares two runs, and .* are the same one"):
        run_gmam(same, tiny_context(runs[2]), samples=10, weights=Weights())


def test_real_samples_are_of_all_classes(truth: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images that are sorted by class, the first ones are not those of one class."""
    digits = load("digits", environ={})
    assert digits.labels is not None
    order = digits.labels.argsort(stable=True)
    data = replace(digits, items=digits.items[order], labels=digits.labels[order])
    games = {tmp_path / name: contestant(truth, 4.0, 4.0) for name in "ab"}
    shown = play(monkeypatch, games, data)
    (tmp_path / "b").mkdir()
    run_gmam(tmp_path / "a", tiny_context(tmp_path / "b"), samples=10, weights=Weights())
    assert shown[0].labels is not None
    assert len(shown[0].labels[:30].unique()) > 5


def test_runs_of_sequences_are_refused(truth: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are no input of another run's discriminator."""
    games = {tmp_path / name: contestant(truth, 4.0, 4.0) for name in "ab"}
    play(monkeypatch, games, load("oracle-small", environ={}))
    with pytest.raises(TrainingError, match="makes sequences of tokens; this measure is for images and points"):
        run_gmam(tmp_path / "a", tiny_context(tmp_path / "b"), samples=10, weights=Weights())
