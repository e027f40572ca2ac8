"""Files that are complete or absent, even if writing is interrupted; the lock of a run; the cache folder."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from training.errors import TrainingError

MODEL = "model.onnx"
"""File of a recipe's own model in a run directory."""
CONFIG, OLD_CONFIG = "config.json", "recipe.json"
"""File of a run's configuration, and its name, with the key ``plan``, in run directories made before version 0.1."""
STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/1": 1, "/dev/fd/2": 2}
"""Outputs of this process by their paths: their descriptors."""
LOCK = "lock"
"""File by whose lock a process has a folder to itself."""
MOST_ATTEMPTS = 100
"""How often the folder of a lock may be removed by others before it counts as one that cannot be made."""
_PARTIAL = re.compile(r".\.(\d+)\.partial$")
"""End of the names of files under way: a process id stands before it."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError have a file's name: that of a write has none, and that of an unfinished file is not what was asked for."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Replace a file by these bytes; if interrupted at any point, the file stays as it was.

    A symbolic link stays: the file that it leads to is replaced. A device or a pipe is written to, and so is /dev/stdout
    wherever it leads: after ``>> FILE`` the bytes are appended.

    Raises:
        OSError: the disk is full or read-only, or the path is a folder; the file is as it was before.
    """
    if is_stream(path) or path.is_dir():
        _write_into(path, parts)
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with naming(path):
            with partial.open("wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()  # what was written would take the space of a disk that is full
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_stream(path: Path) -> bool:
    """Whether a path is no place of a file: a device, a pipe, or an output of this process.

    It is looked at once: between two looks a file may be deleted, which would then be taken for a pipe.
    """
    if str(path) in STREAMS:
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # nothing is there, or what is there shows when it is opened
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def refuse_stream(path: Path) -> None:
    """Refuse what is there and is no file, where a run keeps one.

    Raises:
        TrainingError: a pipe, which may never be read, or a device.
    """
    if is_stream(path):
        raise TrainingError(f"{path} must be a file, and is a pipe or a device: remove it")


def _write_into(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write to what is there and is no file; a folder raises OSError."""
    descriptor = STREAMS.get(str(path))
    if sys.stdout:
        sys.stdout.flush()  # what was printed before stands before
    # Opened anew, an output that leads to a file would be cut or written over from its beginning.
    with naming(path), path.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb") as device:
        for part in parts:
            device.write(part)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Folder of downloaded data and trained classifiers: $XDG_CACHE_HOME/gan-serve, by default ~/.cache/gan-serve."""
    home = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(home) / "gan-serve"


def model_file(model: Path) -> Path:
    """A model file, also where the run directory that holds it is named."""
    return model / MODEL if model.is_dir() else model


def read_model(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        TrainingError: there is none, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise TrainingError(f"there is no model {path}") from None
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error}") from None


def find_config(run: Path) -> Path | None:
    """The configuration file of a run directory; None if it has none."""
    return next((path for path in (run / CONFIG, run / OLD_CONFIG) if path.exists()), None)


def config_in(path: Path) -> Any:
    """What a configuration file holds, a mapping unless it is damaged.

    Raises:
        OSError, ValueError, KeyError, TypeError, RecursionError: it cannot be read, or is damaged.
    """
    return json.loads(path.read_text())["config" if path.name == CONFIG else "plan"]


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file by indented JSON; a number that is not finite becomes null, since JSON has no other word for it."""
    write_whole(path, (json.dumps(_finite(value), indent=2, allow_nan=False) + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
def locked(
    folder: Path, *, wait: Callable[[], None] | None = None, is_kept: Callable[[], bool] = lambda: True
) -> Iterator[Callable[[], bool]]:
    """Make a folder and hold its lock; the operating system releases it when the process ends.

    Yields a function that says whether the lock is still that of the folder: another folder may have come in its place.

    Args:
        folder: the folder; those above it are made, too.
        wait: called once where another process holds the lock, before it is waited for; None refuses to wait.
        is_kept: asked at the end. False removes the file of the lock, and the folders that were made for it if they are empty.

    Raises:
        TrainingError: another process holds it, and ``wait`` is None.
        OSError: the folder cannot be made or written to.
    """
    descriptor, made = _locked(folder, wait)
    try:
        yield lambda: _is_at(folder / LOCK, descriptor)
    finally:
        try:
            if not is_kept():
                _remove_lock(folder, made)
        finally:
            os.close(descriptor)


def _locked(folder: Path, wait: Callable[[], None] | None) -> tuple[int, list[Path]]:
    """The descriptor of the lock that is now held, and the folders that were made for it, the innermost first.

    A process that gives up removes its lock and the folder, so one that comes meanwhile looks again: the lock of a file that
    is no longer at its path keeps no other process away.
    """
    made: list[Path] = []
    for attempt in count(1):
        absent = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            made = absent or made
            descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        except (FileNotFoundError, FileExistsError):  # removed meanwhile; or a place such as /proc, or a file, in its place
            if attempt == MOST_ATTEMPTS:
                raise
            continue
        try:
            _acquire(folder, descriptor, wait)
            if _is_at(folder / LOCK, descriptor):
                return descriptor, made
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise AssertionError  # the loop has no other end


def _acquire(folder: Path, descriptor: int, wait: Callable[[], None] | None) -> None:
    """Take the lock of an open file, at once or after ``wait``."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if wait is None:
            raise TrainingError(f"another job is at work in {folder}") from None
        wait()
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_lock(folder: Path, made: Iterable[Path]) -> None:
    """Remove the file of a lock that this process holds, and the folders that were made for it, as far as they are empty."""
    with suppress(OSError):
        (folder / LOCK).unlink()
        for path in made:
            path.rmdir()
