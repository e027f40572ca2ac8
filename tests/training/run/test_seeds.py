"""``train --seeds``: each seed's run directory is one like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.training.conftest import tiny_context
from training.__main__ import main
from training.errors import NonFinite, TrainingError
from training.game.stacked import StackedGame
from training.run import job, seeds
from training.run.config import RunConfig
from training.run.job import MODEL, open_run, train
from training.run.seeds import parse_seeds, run_of, train_seeds

TOY = RunConfig(recipe="toy1d", steps=4)


@pytest.mark.parametrize(("text", "seeds"), [("0-3", (0, 1, 2, 3)), ("7", (7,)), ("3,5,1-2", (3, 5, 1, 2))])
def test_seeds_are_ranges_and_numbers(text: str, seeds: tuple[int, ...]) -> None:
    """A range includes its end."""
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,,2", "0-5000", "1,0-3", "-1", "9" * 5000, "٣"])
def test_other_texts_are_refused(text: str) -> None:
    """The message has the text and what would be right."""
    with pytest.raises(TrainingError, match="--seeds must"):
        parse_seeds(text)


@pytest.mark.slow
def test_runs_that_stand_at_different_steps_end_together(tmp_path: Path) -> None:
    """One seed was trained alone for two steps, the other not at all: both end at the last step, and go on alone later."""
    out = tmp_path / "toy"
    train(RunConfig(recipe="toy1d", steps=2, seed=3), tiny_context(run_of(out, 3)))
    assert train_seeds(TOY, (0, 3), tiny_context(out))
    for seed in (0, 3):
        run = run_of(out, seed)
        game, _ = open_run(tiny_context(run))
        assert game.step == 4
        assert (run / MODEL).exists()
        assert json.loads((run / "config.json").read_text())["together"] == [0, 3]
        assert [path.name for path in sorted((run / "samples").iterdir())][-1] == "step-000004.png"
    assert train(RunConfig(recipe="toy1d", steps=5, seed=3), tiny_context(run_of(out, 3)))
    assert json.loads((run_of(out, 3) / "config.json").read_text())["together"] == [0, 3]


@pytest.mark.slow
def test_a_seed_that_fails_behind_the_others_stops_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed stands at an earlier step and has a loss that is not finite: the other one is trained to the end first."""

    def check_finite(game: StackedGame, *_: object) -> None:
        if [one.seed for one in game.games] == [0]:
            game._note_failures("D", torch.tensor([torch.nan]))

    exported = []
    for module in (job, seeds):  # an export takes most of the time
        monkeypatch.setattr(module, "export_game", lambda game, *_, **__: exported.append((game.seed, game.step)))
    out = tmp_path / "toy"
    train(RunConfig(recipe="toy1d", steps=2, seed=3), tiny_context(run_of(out, 3)))
    monkeypatch.setattr(StackedGame, "check_finite", check_finite)
    with pytest.raises(NonFinite, match="D of seed 0"):
        train_seeds(TOY, (0, 3), tiny_context(out))
    assert exported == [(3, 2), (3, 4)]


@pytest.mark.slow
def test_a_stop_saves_every_seed(tmp_path: Path) -> None:
    """Stopped after a step, each run has a checkpoint of it and no model."""
    context = replace(tiny_context(tmp_path / "toy"), is_stopped=lambda: True)
    assert not train_seeds(TOY, (0, 1), context)
    for seed in (0, 1):
        assert open_run(tiny_context(run_of(tmp_path / "toy", seed)))[0].step == 1
        assert not (run_of(tmp_path / "toy", seed) / MODEL).exists()


@pytest.mark.slow
def test_a_refusal_deletes_no_run(tmp_path: Path) -> None:
    """With --fresh, a recipe that cannot be trained for several seeds at once leaves the runs that were there before."""
    out = tmp_path / "run"
    train(TOY, tiny_context(run_of(out, 0)))
    before = {path.name: path.read_bytes() for path in run_of(out, 0).iterdir() if path.is_file()}
    with pytest.raises(TrainingError, match="renom cannot be trained for several seeds at once"):
        train_seeds(RunConfig(recipe="renom", data="mnist5k", steps=4), (0, 1), tiny_context(out), is_fresh=True)
    assert {path.name: path.read_bytes() for path in run_of(out, 0).iterdir() if path.is_file()} == before
    assert not run_of(out, 1).exists()


def test_a_folder_without_a_name_has_no_seeds() -> None:
    """The seed is added to the name of --out."""
    with pytest.raises(TrainingError, match="--out must name a folder, to whose name -seed3 is added, got /"):
        run_of(Path("/"), 3)


def test_seed_and_seeds_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is trained."""
    assert main(["train", "toy1d", "--seeds", "0-3", "--seed", "3"]) == 2
    assert "--seed 3 and --seeds 0-3 exclude each other" in capsys.readouterr().err


def test_a_metrics_page_shows_one_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A port together with --seeds is refused."""
    assert main(["train", "toy1d", "--seeds", "0-3", "--metrics-port", "0", "--out", str(tmp_path / "r")]) == 2
    assert "--metrics-port shows one run" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("is_together", [False, True], ids=["one seed", "several"])
def test_a_job_says_that_other_programs_use_the_cores(
    is_together: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What its threads waited for is looked at with each record."""
    monkeypatch.setattr("training.threads.BusyCores.warnings", lambda cores: ["other programs use the cores"])
    for module in (job, seeds):
        monkeypatch.setattr(module, "export_game", lambda *_, **__: None)
    context = replace(tiny_context(tmp_path / "toy"), console=Console(width=200))
    assert train_seeds(TOY, (0, 1), context) if is_together else train(TOY, context)
    assert capsys.readouterr().out.count("step 4: other programs use the cores") == 1
