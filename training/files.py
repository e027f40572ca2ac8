"""Files that are complete or absent, even if writing is interrupted."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.errors import TrainingError


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """The file with these bytes, or, if interrupted at any point, the file as it was before.

    Raises:
        OSError: the disk is full or read-only; the file is as it was before.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A whole file of indented JSON.

    Raises:
        ValueError: a number is not finite.
    """
    write_whole(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def remove_leftovers(folder: Path) -> None:
    """Delete what interrupted writes left behind in a folder and below it."""
    for path in folder.rglob("*.partial"):
        path.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One job a folder; the lock goes with the process, however it ends.

    Raises:
        TrainingError: another job has it.
    """
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise TrainingError(f"another job is at work in {folder}") from None
    finally:
        os.close(descriptor)
