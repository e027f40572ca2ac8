"""Checkpoints are whole or absent."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.conftest import tiny_context
from tests.training.run.conftest import step_of
from training.errors import CheckpointError, OutOfMemory, TrainingError
from training.files import remove_leftovers, write_whole
from training.run.checkpoint import BEST, load_newest, read, save
from training.run.config import RunConfig
from training.run.job import MODEL, train

CPU = torch.device("cpu")


def state(step: int) -> dict[str, object]:
    return {"step": step, "nets": {"G": {"w": torch.full((50,), float(step))}}}


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    """Of five saves the last two files remain, and the last is read."""
    for step in range(1, 6):
        save(tmp_path, state(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-000000004.pt", "checkpoint-000000005.pt"]
    assert step_of(tmp_path) == 5


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    """`export --export best` of a run whose best.pt is one would wait without end."""
    os.mkfifo(tmp_path / BEST)
    with pytest.raises(TrainingError, match=r"best\.pt must be a file, and is a pipe"):
        read(tmp_path / BEST, device=CPU)


def test_a_run_that_goes_on_may_be_read(tmp_path: Path) -> None:
    """`export` and `score` of it find a checkpoint, also when the one that they begin to read is deleted for a newer one."""
    save(tmp_path, state(0), keep=1)
    saver = threading.Thread(target=lambda: [save(tmp_path, state(step), keep=1) for step in range(1, 60)])
    saver.start()
    steps = []
    while saver.is_alive():
        steps.append(step_of(tmp_path))
    saver.join()
    assert [*steps, step_of(tmp_path)] == [*sorted(steps), 59]


def test_the_newest_is_the_one_of_the_last_step(tmp_path: Path) -> None:
    """T-24: checkpoints are ordered by step: a clock that was set back makes no older one the newest."""
    for step in (9, 10):
        os.utime(save(tmp_path, state(step)), (-step, -step))
    assert step_of(tmp_path) == 10
    save(tmp_path, state(11))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000000010.pt", "checkpoint-000000011.pt"]


def test_more_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    """`--keep 3` keeps the newest three, and best.pt is none of them."""
    (tmp_path / BEST).touch()
    for step in range(1, 6):
        save(tmp_path, state(step), keep=3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [BEST, *(f"checkpoint-00000000{step}.pt" for step in (3, 4, 5))]


def test_damaged_newer_files_do_not_push_out_whole_ones(tmp_path: Path) -> None:
    """After a restart from step 4 with a damaged step 9, two whole checkpoints remain at any time."""
    for step in (3, 4, 9):
        save(tmp_path, state(step))
    damaged = tmp_path / "checkpoint-000000009.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    save(tmp_path, state(5))
    assert {p.name for p in tmp_path.iterdir()} == {f"checkpoint-{step:09d}.pt" for step in (4, 5, 9)}
    assert step_of(tmp_path) == 5


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError(), RuntimeError("[enforce] can't allocate memory")],
)
def test_too_little_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The newest checkpoint is not skipped for an older one; the error says what to change."""
    for step in (1, 2):
        save(tmp_path, state(step))

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(OutOfMemory, match="not enough memory .* smaller --batch"):
        load_newest(tmp_path, device=CPU)


def test_leftovers_of_others_stay(tmp_path: Path) -> None:
    """Only what an interrupted write leaves behind is deleted, in the run directory and its folders; not what runs."""
    (tmp_path / "samples" / "deep").mkdir(parents=True)
    dead = 2**22 + 1  # Linux has no process of this number
    leftovers = (f"model.onnx.{dead}.partial", f"samples/a.png.{os.getpid()}.partial")
    others = ("mine.partial", f"samples/deep/a.{dead}.partial", "b.x.partial", f"scores.json.{os.getppid()}.partial")
    names = (*leftovers, *others)
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert [name for name in names if (tmp_path / name).exists()] == list(others)


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_save_may_be_requested(tmp_path: Path) -> None:
    """A request saves a checkpoint after the step, and the job goes on to its end."""
    saved: list[list[str]] = []

    def is_requested() -> bool:
        saved.append(sorted(p.name for p in tmp_path.glob("checkpoint-*.pt")))
        return len(saved) == 2

    context = replace(tiny_context(tmp_path), checkpoint_seconds=1e9, is_save_requested=is_requested)
    assert train(RunConfig(recipe="toy1d", steps=4), context)
    assert saved[1:3] == [[], ["checkpoint-000000002.pt"]]


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    """A fresh directory starts from scratch."""
    assert load_newest(tmp_path, device=CPU) == (None, [])


def test_what_is_no_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """A file of 60 GiB, of which nothing is written, takes no memory; a pipe and a folder of that name do not wait."""
    save(tmp_path, state(1))
    with (tmp_path / "checkpoint-000000009.pt").open("wb") as file:
        file.truncate(60 * 2**30)
    os.mkfifo(tmp_path / "checkpoint-000000008.pt")
    (tmp_path / "checkpoint-000000007.pt").mkdir()
    for step in (2, 3):
        save(tmp_path, state(step))
    loaded, passed_over = load_newest(tmp_path, device=CPU)
    assert loaded is not None
    assert loaded["step"] == 3
    assert [reason.split(":")[0] for reason in passed_over] == ["checkpoint-000000009.pt"]


@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "empty", "zeros"])
def test_a_damaged_newest_falls_back_to_the_one_before_and_says_why(damage: str, tmp_path: Path) -> None:
    """The one before is read, and the reason names the file."""
    save(tmp_path, state(1))
    path = save(tmp_path, state(2))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    damaged = {"truncated": data[:-100], "bit flipped": data, "empty": bytearray(), "zeros": bytearray(len(data))}
    path.write_bytes(damaged[damage])
    loaded, passed_over = load_newest(tmp_path, device=CPU)
    assert loaded is not None
    assert loaded["step"] == 1
    assert [reason.split(":")[0] for reason in passed_over] == ["checkpoint-000000002.pt"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_all_damaged_is_an_error_and_never_a_fresh_start(tmp_path: Path) -> None:
    """With every checkpoint damaged the job ends; it does not begin again silently."""
    context = tiny_context(tmp_path)
    config = RunConfig(recipe="toy1d", steps=2, batch=8)
    train(config, context)
    for path in tmp_path.glob("checkpoint-*.pt"):
        path.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="is whole"):
        train(config, context)


def test_tensors_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """A NaN weight is named and no file appears."""
    bad = {"step": 3, "nets": {"G": {"w": torch.tensor([1.0, float("nan")])}}}
    with pytest.raises(CheckpointError, match=r"step 3: not saved, nets\.G\.w is not finite"):
        save(tmp_path, bad)
    assert list(tmp_path.iterdir()) == []


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_bomb_is_refused(tmp_path: Path) -> None:
    """A checkpoint with code in it is not run."""
    import hashlib

    buffer = io.BytesIO()
    torch.save({"step": 1, "bomb": Bomb(tmp_path / "marker")}, buffer, pickle_module=pickle)
    payload = buffer.getvalue()
    (tmp_path / "checkpoint-000000001.pt").write_bytes(payload + hashlib.sha256(payload).digest())
    with pytest.raises((CheckpointError, pickle.UnpicklingError)):
        load_newest(tmp_path, device=CPU)
    assert not (tmp_path / "marker").exists()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The new content is there, and no temporary file."""
    write_whole(tmp_path / "x", b"one")
    write_whole(tmp_path / "x", b"two", b"three")
    assert (tmp_path / "x").read_bytes() == b"twothree"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A full disk names no file; the error that is raised does."""
    full = tmp_path / f"x.{os.getpid()}.partial"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        write_whole(tmp_path / "x", b"one")
    assert error.value.filename == str(tmp_path / "x")


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_checkpoint_of_other_nets_names_the_difference(tmp_path: Path) -> None:
    """The weights of another architecture are refused by key."""
    context = tiny_context(tmp_path)
    train(RunConfig(recipe="toy1d", steps=2, batch=8), context)
    path = max(tmp_path.glob("checkpoint-*.pt"))
    loaded, _ = load_newest(tmp_path, device=CPU)
    assert loaded is not None
    loaded["nets"]["G"]["stranger"] = loaded["nets"]["G"].pop("body.0.weight")
    path.unlink()
    save(tmp_path, {**loaded, "step": 1})
    for other in tmp_path.glob("checkpoint-*.pt"):
        if other.name != "checkpoint-000000001.pt":
            other.unlink()
    with pytest.raises(TrainingError, match=r"^the checkpoint in \S+ is of other nets than its config.*body\.0\.weight.*$"):
        train(RunConfig(recipe="toy1d", steps=2, batch=8), context)


@pytest.mark.slow
def test_fewer_checkpoints_change_no_result(tmp_path: Path) -> None:
    """Within the least time between checkpoints only the last step saves one, and all results are the same bytes."""
    often, seldom = tmp_path / "often", tmp_path / "seldom"
    saved: list[int] = []
    for run in (often, seldom):
        run.mkdir()
        context = tiny_context(run)
        if run == seldom:
            context = replace(context, checkpoint_seconds=1e9)
        train(RunConfig(recipe="toy1d", steps=8, batch=8), context)
        saved.append(len(list(run.glob("checkpoint-*.pt"))))
    assert saved == [2, 1]
    for name in (MODEL, "stats.jsonl", "samples.webp"):
        assert (often / name).read_bytes() == (seldom / name).read_bytes(), name


def test_a_checkpoint_of_another_user_is_no_damaged_one() -> None:
    """A run of root that is resumed by another user would go on from an older one."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        run = Path(name)
        run.chmod(0o755)
        for step in (1, 2):
            save(run, state(step)).chmod(0o644)
        (run / "checkpoint-000000002.pt").chmod(0)
        user = os.geteuid()
        os.seteuid(user or 65534)
        try:
            with pytest.raises(PermissionError, match="Permission denied: '.*checkpoint-000000002.pt'"):
                load_newest(run, device=CPU)
        finally:
            os.seteuid(user)
