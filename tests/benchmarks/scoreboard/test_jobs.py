"""Rows are run for real: trained, scored, stored, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.scoreboard.__main__ import is_current, run_rows
from benchmarks.scoreboard.jobs import jobs_of, spell
from benchmarks.scoreboard.measures import Against, Scored
from benchmarks.scoreboard.results import RESULTS, load_results
from benchmarks.scoreboard.row import Protocol
from benchmarks.scoreboard.rows import ROWS
from benchmarks.scoreboard.stages import RankCorrelation, StepsTo
from benchmarks.scoreboard.workspace import TRAINING, ProgramError, Stopped, Workspace
from tests.benchmarks.scoreboard.test_page import ROW
from tests.repository.files import ROOT
from tests.training.conftest import PROCESSES
from training.__main__ import main
from training.game.evaluation import Evaluation
from training.game.loop import Game
from training.game.stacked import StackedGame
from training.report.journal import read_rows

TINY = replace(
    ROW, name="tiny", full=Protocol(recipe="toy1d", measure=Scored(name="w1", samples=50), steps=4, seeds=1, minutes=1)
)


class Here(Workspace):
    """Runs the same commands in this process, which has everything imported already."""

    def run(self, arguments: Sequence[str]) -> None:
        """As the program does; what it prints goes where a test's output goes."""
        if self.stop:
            raise Stopped
        assert tuple(arguments[:2]) == TRAINING
        if code := main([*arguments[2:]]):
            raise ProgramError(arguments, code)


class Forked(Workspace):
    """Runs the same commands in processes of their own, which have everything imported already."""

    def run(self, arguments: Sequence[str]) -> None:
        """As the program does."""
        if self.stop:
            raise Stopped
        assert tuple(arguments[:2]) == TRAINING
        process = PROCESSES.Process(target=end_as, args=([*arguments[2:]],))
        process.start()
        process.join()
        if process.exitcode:
            raise ProgramError(arguments, process.exitcode)


def end_as(arguments: list[str]) -> None:
    """Run a training command and end the process with its exit code."""
    sys.exit(main(arguments))


def workspace_in(folder: Path, said: list[str], kind: type[Workspace] = Here) -> Workspace:
    """Everything in one folder, on the CPU."""
    folder.mkdir(exist_ok=True)
    return kind(docs=folder, runs=folder / "runs", root=ROOT, has_cuda=False, say=said.append, device="cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Nets this small run best on one core."""
    torch.set_num_threads(1)


@pytest.mark.process
@pytest.mark.slow
def test_a_row_is_run_once(tmp_path: Path) -> None:
    """Trained, scored and stored with machine, command and commit, and the page made; a second call runs nothing."""
    said: list[str] = []
    workspace = workspace_in(tmp_path, said, Workspace)
    assert run_rows([TINY], [], workspace, scale="full", seeds=None) == 0
    (result,) = load_results(tmp_path / RESULTS, "tiny", "full")
    assert (result.seed, result.measure, result.steps, result.samples) == (0, "w1", 4, 50)
    assert result.command == (
        "python -m training train toy1d --steps 4 --seed 0 --out RUN; python -m training score RUN --samples 50"
    )
    assert "cores of" in result.machine
    assert result.seconds is not None
    assert result.commit
    assert set(result.others) == {"mean", "sd", "sliced-w2", "w1"}
    assert is_current([TINY], tmp_path)
    said.clear()
    before = (tmp_path / RESULTS / "tiny.json").stat().st_mtime_ns
    assert run_rows([TINY], ["tiny"], workspace, scale="full", seeds=1) == 0
    assert (said, (tmp_path / RESULTS / "tiny.json").stat().st_mtime_ns) == ([], before)


@pytest.mark.slow
def test_the_seeds_of_a_small_game_are_trained_together(tmp_path: Path) -> None:
    """One training for all seeds, from the first that the row names; a figure for each, and the command says so."""
    protocol = replace(TINY.full, seeds=2, first_seed=3, are_together=True)
    assert run_rows([replace(TINY, full=protocol)], [], workspace_in(tmp_path, []), scale="full", seeds=None) == 0
    first, second = load_results(tmp_path / RESULTS, "tiny", "full")
    assert first.value != second.value
    assert second.command == (
        "python -m training train toy1d --steps 4 --seeds 3-4 --out RUN; python -m training score RUN-seed4 --samples 50"
    )
    assert {path.name for path in (tmp_path / "runs").glob("toy*")} == {"toy1d-4-seed3", "toy1d-4-seed4"}


@pytest.mark.slow
def test_a_run_in_stages_is_scored_after_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scalar's correlation with KID: one run played on from stage to stage, a KID after each, and no stage twice."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["TEST_CACHE"])
    measure = RankCorrelation(scalar="D/loss", samples=40, stages=(0.2, 0.6, 1.0))
    options = ("--data", "digits", "--batch", "8")
    protocol = Protocol(recipe="vanilla", measure=measure, steps=120, options=options, seeds=1, minutes=1)
    workspace = workspace_in(tmp_path, [])
    assert run_rows([replace(TINY, full=protocol)], [], workspace, scale="full", seeds=None) == 0
    (result,) = load_results(tmp_path / RESULTS, "tiny", "full")
    assert -1 <= result.value <= 1
    assert result.steps == 120
    (run,) = (tmp_path / "runs").glob("vanilla-*")
    stages = json.loads((run / "stages.json").read_text())["stages"]
    assert [stage["step"] for stage in stages] == [24, 72, 120]
    assert all(any(name.startswith("kid-lenet@") for name in stage["values"]) for stage in stages)
    assert len(read_rows(run / "stats.jsonl")) >= 3
    (tmp_path / RESULTS / "tiny.json").unlink()
    assert run_rows([replace(TINY, full=protocol)], [], workspace, scale="full", seeds=None) == 0
    assert load_results(tmp_path / RESULTS, "tiny", "full")[0].value == result.value


@pytest.mark.slow
def test_another_curve_or_count_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A KID of more samples, or after more stages, is measured anew and never read from what another row kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["TEST_CACHE"])
    workspace = workspace_in(tmp_path, [])
    options = ("--data", "digits", "--batch", "8")
    first = StepsTo(kid=0.1, samples=40, stages=(0.5, 1.0))
    for measure in (first, replace(first, samples=60), replace(first, stages=(0.25, 0.5, 1.0))):
        protocol = Protocol(recipe="vanilla", measure=measure, steps=4, options=options, seeds=1, minutes=1)
        assert run_rows([replace(TINY, full=protocol)], [], workspace, scale="full", seeds=None) == 0
        (result,) = load_results(tmp_path / RESULTS, "tiny", "full")
        assert set(result.others) == {f"kid at step {round(4 * share)}" for share in measure.stages}
        (tmp_path / RESULTS / "tiny.json").unlink()
    runs = list((tmp_path / "runs").glob("vanilla-*"))
    counts = sorted(json.loads((run / "scores.json").read_text())["rows"][0]["samples"] for run in runs)
    assert counts == [40, 40, 60]


@pytest.mark.slow
def test_an_opponent_is_trained_too(tmp_path: Path) -> None:
    """GMAM against another recipe: its run is there after, and the figure is stored."""
    protocol = replace(TINY.full, measure=Against(opponents=("toy1d_minibatch",), samples=40))
    assert run_rows([replace(TINY, full=protocol)], [], workspace_in(tmp_path, []), scale="full", seeds=None) == 0
    assert load_results(tmp_path / RESULTS, "tiny", "full")[0].measure.startswith("gmam, ")
    assert {path.name for path in (tmp_path / "runs").glob("toy*")} == {"toy1d-4-seed0", "toy1d_minibatch-4-seed0"}


@pytest.mark.slow
def test_a_row_that_fails_is_told_and_the_others_run(tmp_path: Path) -> None:
    """A measure that is not there fails its row, a recipe that is not built is passed over, and the third row is stored."""
    said: list[str] = []
    wrong = replace(TINY, name="wrong", full=replace(TINY.full, measure=Scored(name="kid", samples=50), minutes=0.1))
    unbuilt = replace(TINY, name="unbuilt", full=replace(TINY.full, recipe="nogan", minutes=0.5))
    assert run_rows([TINY, wrong, unbuilt], [], workspace_in(tmp_path, said), scale="full", seeds=None) == 1
    assert "has no measure 'kid'" in said[-1]
    assert "unbuilt: no recipe yet: nogan" in said
    assert len(load_results(tmp_path / RESULTS, "tiny", "full")) == 1
    assert load_results(tmp_path / RESULTS, "wrong", "full") == []


@pytest.mark.slow
@pytest.mark.parametrize("are_together", [False, True])
def test_a_seed_that_diverges_is_stored_and_the_others_run(
    are_together: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no value, and the step at which a loss was no number; the other seed has one. A second call runs nothing."""
    played = StackedGame if are_together else Game
    look = played.check_finite

    def check_finite(game: Any, evaluation: Evaluation, *others: Any) -> None:
        """Look at the losses after that of seed 1 was made NaN at step 2."""
        seeds = torch.tensor([one.seed for one in game.games] if are_together else game.seed)
        if game.step == 2:
            for loss in evaluation.losses.values():
                loss.detach()[seeds == 1] = torch.nan
        look(game, evaluation, *others)

    monkeypatch.setattr(played, "check_finite", check_finite)
    row = replace(TINY, full=replace(TINY.full, seeds=2, are_together=are_together))
    said: list[str] = []
    assert run_rows([row], [], workspace_in(tmp_path, said), scale="full", seeds=None) == 0
    good, bad = load_results(tmp_path / RESULTS, "tiny", "full")
    assert (good.has_diverged, good.measure, good.steps) == (False, "w1", 4)
    assert (bad.has_diverged, bad.value) == (True, None)
    assert "tiny (full), seed 1: it diverged" in said
    said.clear()
    assert run_rows([row], [], workspace_in(tmp_path, said), scale="full", seeds=None) == 0
    assert said == []


@pytest.mark.process
@pytest.mark.slow
def test_several_workers_play_seeds_at_a_time(tmp_path: Path) -> None:
    """Each result is that of one worker; rows of one training share its run, and a row that fails leaves the others alone."""
    spread = replace(TINY, name="spread", full=replace(TINY.full, measure=Scored(name="sd", samples=50)))
    wrong = replace(TINY, name="wrong", full=replace(TINY.full, measure=Scored(name="kid", samples=50), steps=3))
    rows = [TINY, spread, wrong]
    said: list[str] = []
    workspace = replace(workspace_in(tmp_path, said, Forked), workers=2)
    assert run_rows(rows, [], workspace, scale="full", seeds=None) == 1
    assert sum("has no measure 'kid'" in text for text in said) == 2  # when it failed, and at the end
    assert {path.name for path in (tmp_path / "runs").glob("toy*")} == {
        "toy1d-4-seed0",
        "toy1d-3-seed0",
    }
    (tiny,), (wide,) = (load_results(tmp_path / RESULTS, name, "full") for name in ("tiny", "spread"))
    assert wide.others["w1"] == tiny.value
    assert load_results(tmp_path / RESULTS, "wrong", "full") == []


def test_a_row_of_many_games_runs_its_own_program() -> None:
    """The program plays and scores; it exists, and takes what it is given."""
    protocol = next(row.scaled for row in ROWS if row.name == "ebgan_grid")
    assert protocol is not None
    command = spell(protocol, 1)
    assert command == ("python benchmarks/training/ebgan_grid.py --points 8 --largest 800 --steps 800 --seed 1 --out RUN")
    assert (ROOT / command.split()[1]).is_file()


def test_the_cheapest_row_is_first_and_a_gpu_plays_in_full() -> None:
    """Order is minutes times seeds; auto is scaled on the CPU where there is such a thing, and full on a GPU."""
    dear = replace(ROW, name="dear", scaled=None, full=replace(ROW.full, minutes=9))
    on_cpu = jobs_of([dear, ROW], scale="auto", has_cuda=False)
    assert [(job.row.name, job.scale) for job in on_cpu] == [("toy", "scaled"), ("dear", "full")]
    assert [(job.row.name, job.scale) for job in jobs_of([dear, ROW], scale="auto", has_cuda=True)] == [
        ("toy", "full"),
        ("dear", "full"),
    ]
    assert jobs_of([ROW], scale="scaled", has_cuda=True)[0].scale == "scaled"
    assert len(jobs_of(ROWS, scale="auto", has_cuda=True)) == len(ROWS)


def test_a_row_that_needs_a_gpu_is_left_out_on_the_cpu() -> None:
    """Unless it is asked for in full."""
    row = replace(ROW, scaled=None, needs_gpu=True)
    assert jobs_of([row], scale="auto", has_cuda=False) == []
    assert len(jobs_of([row], scale="auto", has_cuda=True)) == len(jobs_of([row], scale="full", has_cuda=False)) == 1


def test_a_stop_ends_before_the_next_program(tmp_path: Path) -> None:
    """Nothing is run or stored, the page is made, and the exit code is 128 and the signal."""
    workspace = workspace_in(tmp_path, [])
    workspace.stop = signal.SIGTERM
    assert run_rows([TINY], [], workspace, scale="full", seeds=None) == 128 + signal.SIGTERM
    assert load_results(tmp_path / RESULTS, "tiny", "full") == []
    assert is_current([TINY], tmp_path)


@pytest.mark.process
@pytest.mark.slow
def test_the_script_stops_cleanly_and_only_one_runs(tmp_path: Path) -> None:
    """A second call while one runs is refused; SIGTERM ends the first with checkpoints to go on from and no result."""
    script = [str(ROOT / "benchmarks" / "scoreboard.sh"), "parabola", "--docs", str(tmp_path), "--runs", str(tmp_path / "runs")]
    script += ["--workers", "2"]
    environ = {**os.environ, "PYTHON": sys.executable}
    first = subprocess.Popen(script, env=environ, stdout=subprocess.DEVNULL)
    both = [tmp_path / "runs" / f"parabola-seed{seed}" / "stats.jsonl" for seed in (0, 1)]
    try:
        while not all(read_rows(stats) for stats in both):
            assert first.poll() is None
            time.sleep(0.1)
        second = subprocess.run(script, env=environ, capture_output=True, text=True, check=False)
        assert (second.returncode, "another job is at work" in second.stderr) == (2, True)
        first.send_signal(signal.SIGTERM)
        assert first.wait(120) == 128 + signal.SIGTERM
    finally:
        first.kill()
    assert all(list(stats.parent.glob("checkpoint-*.pt")) for stats in both)
    assert not (tmp_path / "runs" / "parabola-seed2").exists()
    assert not (tmp_path / RESULTS).exists()
