"""Files that are whole or absent, whatever interrupts their writing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
