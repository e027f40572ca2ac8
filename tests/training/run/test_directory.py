"""A run directory belongs to one job at a time, and to one plan."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from tests.training.conftest import tiny_context
from training.errors import TrainingError
from training.files import locked
from training.run.checkpoint import load_newest
from training.run.config import RunConfig
from training.run.job import MODEL, train


def test_a_model_of_no_run_is_not_overwritten(tmp_path: Path) -> None:
    """A folder that holds a user's model.onnx and no configuration is refused, and the file stays."""
    (tmp_path / MODEL).write_bytes(b"a year of work")
    with pytest.raises(TrainingError, match="is of no run"):
        train(RunConfig(recipe="toy1d", steps=1), tiny_context(tmp_path))
    assert (tmp_path / MODEL).read_bytes() == b"a year of work"


def test_two_jobs_do_not_share_a_directory(tmp_path: Path) -> None:
    """While one process holds the lock, a second gets an error and changes nothing."""
    import fcntl

    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="another job is at work"):
            train(RunConfig(recipe="toy1d", steps=2, batch=8), tiny_context(tmp_path))
    assert not (tmp_path / MODEL).exists()


def test_only_the_lock_itself_is_taken_for_another_job(tmp_path: Path) -> None:
    """An output that may not block raises the error of a lock that is held: the job that meets it keeps its own error."""
    with pytest.raises(BlockingIOError, match="could not complete"), locked(tmp_path):
        raise BlockingIOError(errno.EAGAIN, "write could not complete without blocking")


@pytest.mark.usefixtures("no_export")
def test_another_plan_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    """A run directory belongs to one config, until it is replaced on purpose, and with it what was measured of its nets."""
    context = tiny_context(tmp_path)
    train(RunConfig(recipe="toy1d", steps=2, batch=8), context)
    with pytest.raises(TrainingError, match="another run.*--fresh"):
        train(RunConfig(recipe="toy1d", steps=2, batch=4), context)
    (tmp_path / "completed-left").mkdir()
    measured = [tmp_path / name for name in ("scores.json", "gmam-a.json", "model-x.onnx", "completed-left/completion.json")]
    for path in measured:
        path.write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    assert train(RunConfig(recipe="toy1d", steps=2, batch=4), context, is_fresh=True)
    assert not any(path.exists() for path in measured)
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.usefixtures("no_export")
def test_a_finished_run_may_be_played_longer_and_not_shorter(tmp_path: Path) -> None:
    """Only the number of steps may change, and not to fewer than were played."""
    context = tiny_context(tmp_path)
    train(RunConfig(recipe="toy1d", steps=2, batch=8), context)
    assert train(RunConfig(recipe="toy1d", steps=4, batch=8), context)
    loaded, _ = load_newest(tmp_path, device=torch.device("cpu"))
    assert loaded is not None
    assert loaded["step"] == 4
    with pytest.raises(TrainingError, match="at step 4 already, past 2"):
        train(RunConfig(recipe="toy1d", steps=2, batch=8), context)
