"""Append-only files of a run, one JSON object a line, that can be cut back to a step."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def cut_journal(path: Path, *, last_step: int) -> Record | None:
    """Keeps the rows of ``path`` up to ``last_step``, makes the file if there is none, and gives the last row kept."""
    rows, size = _whole_rows(path, last_step)
    path.touch()
    os.truncate(path, size)
    return rows[-1] if rows else None


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """Appends one row; a value that is not finite becomes null, which JSON has a word for.

    The row is in the hands of the operating system when the call returns: a killed process loses none.
    """
    finite = {name: value if math.isfinite(value) else None for name, value in row.items()}
    with path.open("ab") as file:
        file.write(json.dumps(finite, allow_nan=False).encode() + b"\n")


def read_rows(path: Path) -> list[Record]:
    """The whole rows of a journal, without the torn line that a killed run may have left; none when there is no file."""
    return _whole_rows(path, None)[0]


def _whole_rows(path: Path, last_step: int | None) -> tuple[list[Record], int]:
    """The rows before the first that is torn or past ``last_step``, and the bytes that they take."""
    rows: list[Record] = []
    size = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        row = _parse(line)
        if row is None or (last_step is not None and row["step"] > last_step):
            break
        rows.append(row)
        size += len(line)
    return rows, size


def _parse(line: bytes) -> Record | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
