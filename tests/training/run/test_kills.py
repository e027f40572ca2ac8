"""A job that is killed at any moment and in each of its phases, and one that receives two signals to stop."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.training.conftest import PROCESSES, differences, few_updates, tiny_config, tiny_context
from training.export import to_onnx
from training.game import loop
from training.game.recipe import Ema
from training.recipes import CATALOGUE
from training.report.journal import read_rows
from training.report.recorder import Recorder
from training.run import checkpoint, job, keeping
from training.run.checkpoint import load_newest
from training.run.config import RunConfig
from training.run.job import MODEL, train
from training.run.launch import NO_PAGE, Saving, _Stop, launch

pytestmark = [pytest.mark.process, pytest.mark.slow]

KILLS = 50
INTERVAL = 4
"""Steps between two checkpoints."""
RECIPE = "gan_ring8_small"
PHASES: dict[str, tuple[Any, str, int]] = {
    "loading the data": (job, "load", 1),
    "the first samples": (Recorder, "samples", 1),
    "a loss": (loop, "compute_loss", 3),
    "D's update": (loop, "_apply", 5),
    "G's update": (loop, "_apply", 6),
    "the averages": (Ema, "update", 3),
    "an evaluation": (keeping.Keeper, "_look", 1),
    "a record": (Recorder, "log", 1),
    "a save": (checkpoint, "write_whole", 1),
    "samples": (Recorder, "samples", 1),
    "curves": (Recorder, "finish", 1),
    "the export": (to_onnx, "trace", 1),
    "writing the model": (to_onnx, "write_whole", 1),
}
"""By phase, the function with which it begins, and the number of the call before which the job is killed."""


def play(run: Path, steps: int, *, is_exported: bool = False) -> None:
    """Train the recipe of these tests to its last step, from where the run directory is; each step is recorded."""
    context = replace(tiny_context(run), checkpoints=steps // INTERVAL, grids=1)
    with few_updates(RECIPE), pytest.MonkeyPatch.context() as patch:
        patch.setitem(CATALOGUE, RECIPE, replace(CATALOGUE[RECIPE], log_every=1, ema=Ema(0.9)))
        if not is_exported:
            patch.setattr(job, "export_game", lambda *arguments: None)
        assert train(tiny_config(RECIPE, run, steps=steps), context)


def unequal(whole: Path, broken: Path) -> list[str]:
    """What differs between two finished runs: records, pictures, weights."""
    first, second = (load_newest(run, device=torch.device("cpu"))[0] for run in (whole, broken))
    names = sorted({path.name for run in (whole, broken) for path in (run / "samples").iterdir()})
    files = ["stats.jsonl", "samples.webp", *(f"samples/{name}" for name in names)]
    return differences(first, second) + [name for name in files if (whole / name).read_bytes() != (broken / name).read_bytes()]


def forked(function: Callable[[], None], kill_after_s: float | None = None) -> int:
    """The exit code of a copy of this process that calls a function: what training imports is there already."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:  # `os._exit` would lose it
            traceback.print_exc()
        finally:
            os._exit(code)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_process(function: Callable[..., None], *arguments: Any) -> Any:
    """What a function sends from a process of one thread, which may fork."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=function, args=(*arguments, theirs))
    process.start()
    theirs.close()
    result = ours.recv()
    process.join()
    return result


def newest(run: Path) -> int:
    """The step of the newest whole checkpoint; 0 where there is none."""
    loaded, damaged = load_newest(run, device=torch.device("cpu"))
    assert damaged == []
    return int(loaded["step"]) if loaded else 0


def _kill_fifty_times(folder: Path, result: Connection) -> None:
    whole, broken = folder / "whole", folder / "broken"
    play(whole, 100)
    numbers, lost = random.Random(1), list[int]()
    while len(lost) < KILLS:
        code = forked(lambda: play(broken, 100), numbers.uniform(0, 0.35))
        if code == 0:  # it came to its end
            wrong = unequal(whole, broken)
            assert wrong == []
            shutil.rmtree(broken)
            continue
        assert code == -signal.SIGKILL
        rows = read_rows(broken / "stats.jsonl")
        lost.append(max((row["step"] for row in rows), default=0) - newest(broken))
    play(broken, 100)
    result.send((lost, unequal(whole, broken)))


def test_a_job_that_is_killed_fifty_times_goes_on_each_time(tmp_path: Path) -> None:
    """T-03: after a kill at any moment a run continues, loses one interval between checkpoints at most, and ends the same."""
    lost, wrong = in_process(_kill_fifty_times, tmp_path)
    assert max(lost) <= INTERVAL
    assert wrong == []


def _play_and_be_killed(run: Path, owner: Any, name: str, call: int) -> None:
    function: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    setattr(owner, name, counted)
    play(run, 8, is_exported=True)


def _kill_in_each_phase(whole: Path, broken: Path, result: Connection) -> None:
    play(whole, 8, is_exported=True)
    ends = {}
    for phase, killed in PHASES.items():
        code = forked(partial(_play_and_be_killed, broken, *killed))
        ends[phase] = code, (broken / MODEL).exists(), newest(broken)
    play(broken, 8, is_exported=True)
    result.send(ends)


def test_a_job_that_is_killed_in_each_phase_ends_the_same(tmp_path: Path) -> None:
    """T-11: killed in thirteen phases one after the other, a run ends in the bytes of one that was not; no model is half."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    ends = in_process(_kill_in_each_phase, whole, broken)
    assert {phase: end[:2] for phase, end in ends.items()} == dict.fromkeys(PHASES, (-signal.SIGKILL, False))
    steps = [end[2] for end in ends.values()]
    assert steps == sorted(steps)
    assert unequal(whole, broken) == []
    assert (whole / MODEL).read_bytes() == (broken / MODEL).read_bytes()
    assert not list(broken.glob("*.partial"))


def _stop_twice(run: Path, number: signal.Signals, result: Connection) -> None:
    fsync = os.fsync
    received: list[str] = []

    def stop_again(descriptor: Any) -> None:
        received.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        os.kill(os.getpid(), number)
        fsync(descriptor)

    is_requested = _Stop.is_requested

    def stop(self: _Stop) -> bool:
        is_requested(self)  # before the first step a signal ends the job at once
        os.kill(os.getpid(), number)
        os.fsync = stop_again  # type: ignore[assignment]
        return is_requested(self)

    _Stop.is_requested = stop  # type: ignore[method-assign]
    config = RunConfig(recipe="toy1d", steps=1000, batch=8)
    with few_updates("toy1d"):
        code = launch(config, run, "cpu", Console(file=io.StringIO()), page=NO_PAGE, saving=Saving(1, 1e9))
    result.send((code, received))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_during_the_save_changes_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """T-10: a second signal while the checkpoint of the first is written: it is whole, and the exit code is 143 or 130."""
    code, written = in_process(_stop_twice, tmp_path, number)
    assert code == 128 + number
    assert [name for name in written if name.startswith("checkpoint-")]
    assert newest(tmp_path) == 1
    assert not list(tmp_path.glob("*.partial"))
