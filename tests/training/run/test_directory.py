"""A run directory belongs to one job at a time, and to one plan."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import tiny_context
from training import __main__ as command
from training.data import DataError
from training.errors import TrainingError
from training.files import LOCK, locked
from training.run.checkpoint import load_newest
from training.run.config import RunConfig
from training.run.directory import forget, refuse_run_in_data
from training.run.job import MODEL, train


def test_a_model_of_no_run_is_not_overwritten(tmp_path: Path) -> None:
    """A folder that holds a user's model.onnx and no configuration is refused, and the file stays."""
    (tmp_path / MODEL).write_bytes(b"a year of work")
    with pytest.raises(TrainingError, match="is of no run"):
        train(RunConfig(recipe="toy1d", steps=1), tiny_context(tmp_path))
    assert (tmp_path / MODEL).read_bytes() == b"a year of work"


def test_two_jobs_do_not_share_a_directory(tmp_path: Path) -> None:
    """While one process holds the lock, a second gets an error and changes nothing."""
    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="another job is at work"):
            train(RunConfig(recipe="toy1d", steps=2, batch=8), tiny_context(tmp_path))
    assert not (tmp_path / MODEL).exists()


@pytest.mark.parametrize("name", ["config.json", "stats.jsonl", "timings.jsonl", "best.pt"])
def test_a_pipe_in_the_place_of_a_file_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A job that opens it would wait without end; the command names it instead, also where the run is only exported."""
    (tmp_path / "config.json").write_text('{"config": {"recipe": "toy1d", "steps": 1, "batch": 8}}')
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    commands = [["train", "toy1d", "--steps", "1", "--batch", "8", "--out"], ["resume"]]
    for words in [*commands, *([["export"]] if name == "config.json" else [])]:
        assert command.main([*words, str(tmp_path)]) == 2
        assert f"{tmp_path / name} must be a file, and is a pipe" in capsys.readouterr().err


def test_only_the_lock_itself_is_taken_for_another_job(tmp_path: Path) -> None:
    """An output that may not block raises the error of a lock that is held: the job that meets it keeps its own error."""
    with pytest.raises(BlockingIOError, match="could not complete"), locked(tmp_path):
        raise BlockingIOError(errno.EAGAIN, "write could not complete without blocking")


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_job_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    """Neither a folder that it made, nor a file in one of the user's."""
    config = RunConfig(recipe="dcgan64_small", data=f"folder:{tmp_path / 'absent'}")
    own = tmp_path / "own"
    own.mkdir()
    for run in (tmp_path / "runs" / "new", own):
        with pytest.raises(DataError, match="does not exist"):
            train(config, tiny_context(run))
    assert list(tmp_path.rglob("*")) == [own]


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_run_is_replaced_once_the_new_one_is_possible(tmp_path: Path) -> None:
    """``--fresh`` with data that are not there, or with parts that do not fit, deletes nothing."""
    context = tiny_context(tmp_path)
    train(RunConfig(recipe="toy1d", steps=2, batch=8), context)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for recipe, data in (("dcgan64_small", f"folder:{tmp_path / 'absent'}"), ("toy1d", "digits")):
        with pytest.raises((DataError, TrainingError)):
            train(RunConfig(recipe=recipe, data=data, steps=2), context, is_fresh=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("deleted", range(3))
def test_no_other_run_goes_on_from_what_a_deletion_left(deleted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while ``--fresh`` deletes two checkpoints and the configuration: a run of another seed is refused after it."""
    context, other = tiny_context(tmp_path), RunConfig(recipe="toy1d", steps=2, batch=8, seed=1)
    train(replace(other, seed=0), context)
    unlink, left = Path.unlink, iter(range(deleted))

    def cut(path: Path, *options: Any) -> None:
        if path.suffix in (".pt", ".json") and next(left, None) is None:
            raise KeyboardInterrupt
        unlink(path, *options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", cut)
        with pytest.raises(KeyboardInterrupt):
            train(other, context, is_fresh=True)
    assert len(list(tmp_path.glob("checkpoint-*.pt"))) == 2 - deleted
    with pytest.raises(TrainingError, match="holds another run"):
        train(other, context)


def test_a_lock_that_is_removed_keeps_one_process_at_a_time(tmp_path: Path) -> None:
    """Of many that come and give up, none holds the lock of a file that is gone while another holds the new one."""
    folder = tmp_path / "run"
    inside, most, entered = 0, 0, 0

    def come_and_go() -> None:
        nonlocal inside, most, entered
        for _ in range(200):
            try:
                with locked(folder, is_kept=lambda: False):
                    inside += 1
                    most, entered = max(most, inside), entered + 1
                    time.sleep(0)  # another thread's turn
                    inside -= 1
            except TrainingError:
                continue

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert entered > 0
    assert not (folder / LOCK).exists()  # the folder may stay, where one found it and another could not remove it then


def test_who_opened_a_lock_that_is_removed_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first job gives up between a second one's opening of the file and its lock: the second holds the new file's."""
    folder = tmp_path / "run"
    first = locked(folder, is_kept=lambda: False)
    first.__enter__()
    flock = fcntl.flock

    def leave_and_lock(*arguments: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        first.__exit__(None, None, None)
        assert not folder.exists()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", leave_and_lock)
    with locked(folder):
        assert (folder / LOCK).exists()
        with pytest.raises(TrainingError, match="another job is at work"), locked(folder):
            pass


def test_a_folder_that_is_removed_while_it_is_made_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mkdir` finds a folder that is gone when it looks what is there; a file in its place is an error."""
    folder = tmp_path / "run"
    folder.mkdir()
    is_dir = Path.is_dir

    def remove_and_look(path: Path) -> bool:
        monkeypatch.setattr(Path, "is_dir", is_dir)
        folder.rmdir()
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", remove_and_look)
    with locked(folder):
        assert (folder / LOCK).exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError), locked(tmp_path / "file"):
        pass


@pytest.mark.parametrize(
    ("out", "is_refused"),
    [(".", True), ("runs/a", True), ("link/a", True), (".hidden/a", False), ("../a", False), ("../pictures-2", False)],
)
def test_a_run_directory_in_its_data_is_refused(out: str, is_refused: bool, tmp_path: Path) -> None:
    """Its sample grids would be training data; a hidden folder is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "link").symlink_to(folder)
    if not is_refused:
        refuse_run_in_data(folder / out, f"folder:{folder}")
        return
    with pytest.raises(TrainingError, match=r"the run directory .* lies in the data folder .*: use --out"):
        refuse_run_in_data(folder / out, f"folder:{folder}")


@pytest.mark.parametrize("more", [[], ["--seeds", "0,1"]], ids=["one", "seeds"])
def test_the_command_refuses_it_before_anything_is_written(
    more: list[str], picture_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the default directory lies there, as with folder:. in the current one."""
    before = sorted(picture_folder.iterdir())
    words = ["train", "vanilla", "--data", f"folder:{picture_folder}", "--out", str(picture_folder / "run")]
    assert command.main([*words, *more]) == 2
    assert "lies in the data folder" in capsys.readouterr().err
    assert sorted(picture_folder.iterdir()) == before


@pytest.mark.parametrize("name", ["stats.jsonl", "events.out.tfevents"])
def test_records_of_no_run_are_not_deleted(name: str, tmp_path: Path) -> None:
    """Those of another program, whose samples and curves would be deleted, too."""
    (tmp_path / name).write_bytes(b"a year of work")
    with pytest.raises(TrainingError, match="is of no run"):
        train(RunConfig(recipe="toy1d", steps=1), tiny_context(tmp_path))
    assert (tmp_path / name).read_bytes() == b"a year of work"


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("what", ["moved", "lock"])
def test_a_directory_that_is_no_longer_its_own_ends_a_job(what: str, tmp_path: Path) -> None:
    """Another job may have begun at that place: nothing is written there, and what was moved stays whole."""
    run, steps = tmp_path / "run", iter(range(1, 9))

    def meddle() -> bool:
        if next(steps) == 3:
            (run / "lock").unlink() if what == "lock" else run.rename(tmp_path / "moved")
            run.mkdir(exist_ok=True)
        return False

    context = replace(tiny_context(run), is_stopped=meddle)
    with pytest.raises(TrainingError, match="was moved, replaced or deleted"):
        train(RunConfig(recipe="toy1d", steps=8, batch=8), context)
    assert what == "lock" or list(run.iterdir()) == []


def test_a_folder_with_brackets_in_its_name_is_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are no marks of colours."""
    run = tmp_path / "a[bold]b[" / "]"
    assert command.main(["train", "toy1d", "--steps", "1", "--batch", "8", "--device", "cpu", "--out", str(run)]) == 0
    assert f"exported {run / MODEL}" in capsys.readouterr().out


@pytest.mark.usefixtures("no_export")
def test_a_run_that_was_deleted_and_not_begun_again_is_no_foreign_one(tmp_path: Path) -> None:
    """A kill behind the deletion of --fresh leaves nothing that the next start refuses."""
    train(RunConfig(recipe="toy1d", steps=2, batch=8), tiny_context(tmp_path))
    forget(tmp_path)
    assert train(RunConfig(recipe="toy1d", steps=1, batch=4), tiny_context(tmp_path))
