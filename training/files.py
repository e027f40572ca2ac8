"""Files that are complete or absent, even if writing is interrupted; the lock of a run; the cache folder."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from training.errors import TrainingError

MODEL = "model.onnx"
"""File of a recipe's own model in a run directory."""
_PARTIAL = re.compile(r".\.(\d+)\.partial$")
"""End of the names of files under way: a process id stands before it."""


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Replace a file by these bytes; if interrupted at any point, the file stays as it was.

    A symbolic link stays: the file that it leads to is replaced. A device or a pipe, such as /dev/stdout, is written to.

    Raises:
        OSError: the disk is full or read-only, or the path is a folder; the file is as it was before.
    """
    if path.exists() and not path.is_file():
        _write_into(path, parts)
        return
    path = path.resolve() if path.is_symlink() else path
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()  # what was written would take the space of a disk that is full
        error.filename = str(path)  # a failed write names no file, and the unfinished one is not what the user asked for
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_into(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write to what is there and is no file; a folder raises OSError."""
    try:
        with path.open("wb") as device:
            for part in parts:
                device.write(part)
    except OSError as error:
        error.filename = str(path)
        raise


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Folder of downloaded data and trained classifiers: $XDG_CACHE_HOME/gan-serve, by default ~/.cache/gan-serve."""
    home = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(home) / "gan-serve"


def model_file(model: Path) -> Path:
    """A model file, also where the run directory that holds it is named."""
    return model / MODEL if model.is_dir() else model


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file by indented JSON.

    Raises:
        ValueError: a number is not finite.
    """
    write_whole(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def remove_leftovers(folder: Path) -> None:
    """Delete what ``write_whole`` left behind in a folder and in the folders directly below it, and nothing else.

    What another process of this machine may be writing stays: a score of the run, for instance.
    """
    for path in (*folder.glob("*.partial"), *folder.glob("*/*.partial")):
        written_by = _PARTIAL.search(path.name)
        if written_by and not _is_another_process(int(written_by[1])):
            path.unlink()


def _is_another_process(pid: int) -> bool:
    """Whether a process has this number and is not this one; that of a predecessor in a container often is this one's."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # of another user
    return True


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; the operating system releases it when the process ends.

    Raises:
        TrainingError: another process holds it.
    """
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"another job is at work in {folder}") from None
        yield
    finally:
        os.close(descriptor)
