"""Saving on a machine that fails: a kill at each system call, errors of the disk, a disk that is really full."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import PROCESSES
from training import __main__ as command
from training.files import remove_leftovers
from training.run import job
from training.run.checkpoint import load_newest, pack, save

pytestmark = pytest.mark.process

CALLS = {"openat": 4, "write": 2, "fsync": 2, "rename": 1, "unlink": 1}
"""The system calls by which a save changes the disk, or looks at it, and how many of each there are at least."""
MOST_CALLS = 20
CLONE_NEWNS, MS_PRIVATE, MS_REC = 0x20000, 1 << 18, 1 << 14


def state(step: int) -> dict[str, Any]:
    return {"step": step, "nets": {"G": {"w": torch.full((5000,), float(step))}}}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def loaded_step(folder: Path) -> int:
    loaded, damaged = load_newest(folder, device=torch.device("cpu"))
    assert loaded is not None
    assert damaged == []
    return int(loaded["step"])


def _save_when_asked(folder: Path, asked: Connection) -> None:
    pack(state(3))  # imports what saving needs
    asked.send("ready")
    asked.recv()
    try:
        save(folder, state(3))
    except OSError as error:
        os._exit(error.errno or 1)
    os._exit(0)


@pytest.fixture
def two_saved(tmp_path: Path) -> Callable[[], Path]:
    """A function that makes folders with the checkpoints of steps 1 and 2: another save deletes the first."""
    first = tmp_path / "first"
    first.mkdir()
    for step in (1, 2):
        save(first, state(step))
    numbers = count()
    return lambda: Path(shutil.copytree(first, tmp_path / str(next(numbers))))


def save_under(folder: Path, *injected: str) -> int:
    """The exit code of a process that saves step 3 while strace injects faults into its system calls."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_save_when_asked, args=(folder, theirs))
    process.start()
    ours.recv()
    options = [part for fault in injected for part in ("-e", f"inject={fault}")]
    try:
        strace = subprocess.Popen(
            ["strace", "-o", "/dev/null", "-p", str(process.pid), *options], stderr=subprocess.PIPE, text=True
        )
    except FileNotFoundError:
        process.kill()
        pytest.skip("strace is not installed (Debian: strace)")
    assert strace.stderr is not None
    # Said once the process is stopped: it is traced already before that, when it would still run on without the fault.
    if not strace.stderr.readline().endswith(" attached\n"):
        process.kill()
        strace.communicate()
        pytest.skip("strace may not attach to a process here")
    ours.send("save")
    process.join()
    strace.communicate()
    assert process.exitcode is not None
    return process.exitcode


def test_a_kill_at_each_system_call_leaves_a_whole_checkpoint(two_saved: Callable[[], Path]) -> None:
    """T-04: before each call the newest checkpoint is whole, no file is half, and the next start removes what was under way."""
    found = set()
    for name, least in CALLS.items():
        for call in range(1, MOST_CALLS):
            folder = two_saved()
            code = save_under(folder, f"{name}:signal=KILL:when={call}")
            step = loaded_step(folder)
            if code == 0:
                break
            assert code == -signal.SIGKILL
            found.add(step)
            remove_leftovers(folder)
            assert names(folder)[-2:] == [f"checkpoint-{kept:09d}.pt" for kept in (step - 1, step)]
        assert (code, step) == (0, 3)
        assert call > least, name
    assert found == {2, 3}


@pytest.mark.parametrize("fault", ["write:error=ENOSPC:when=2", "fsync:error=EIO:when=1", "rename:error=EROFS:when=1"])
def test_an_error_of_the_disk_leaves_the_earlier_checkpoints_alone(fault: str, two_saved: Callable[[], Path]) -> None:
    """T-05: the save is an error, the checkpoints before it are as they were, and no unfinished file takes space."""
    folder = two_saved()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert os.strerror(save_under(folder, fault)) in ("No space left on device", "Input/output error", "Read-only file system")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def _train_on_a_small_disk(folder: Path, result: Connection) -> None:
    """Train on a tmpfs to step 4, fill it, go on to step 8, and again when there is space."""
    libc = ctypes.CDLL(None)
    mounted = not libc.unshare(CLONE_NEWNS) and not libc.mount(None, b"/", None, MS_PRIVATE | MS_REC, None)
    if not mounted or libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=8m"):
        return result.send(None)
    said = folder.parent / "said"
    output = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    job.export_game = lambda *arguments: run  # it takes most of the time
    run = folder / "run"
    codes = [command.main(["train", "toy1d", "--steps", "4", "--device", "cpu", "--out", str(run)])]
    free = os.statvfs(folder)
    (folder / "fill").write_bytes(bytes(free.f_bavail * free.f_bsize))
    longer = ["resume", str(run), "--steps", "8", "--device", "cpu"]
    codes.append(command.main(longer))
    found = loaded_step(run), names(run), said.read_text()
    (folder / "fill").unlink()
    codes.append(command.main(longer))
    return result.send((codes, *found, loaded_step(run)))


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_with_a_sentence_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    """T-05: exit code 2, one line, a checkpoint from which the run goes on to its end, and no unfinished file."""
    folder = tmp_path / "disk"
    folder.mkdir()
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_train_on_a_small_disk, args=(folder, theirs))
    process.start()
    theirs.close()
    result = ours.recv()
    process.join()
    if result is None:
        pytest.skip("mounting a tmpfs needs root")
    codes, step, files, said, last_step = result
    assert codes == [0, 2, 0]
    assert said.splitlines()[-1].startswith("error: No space left on device: ")
    assert "Traceback" not in said
    assert 4 <= step < last_step == 8
    assert not [name for name in files if name.endswith(".partial")]
