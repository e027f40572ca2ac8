"""Append-only files of a run, one JSON object a line, that can be cut back to a step."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.files import naming, write_whole

Record = dict[str, Any]


def cut_journal(path: Path, *, last_step: int) -> Record | None:
    """Keeps the rows of ``path`` up to ``last_step``, makes the file if there is none, and gives the last row kept."""
    path.touch()
    content = path.read_bytes()
    lines = _whole_lines(content, last_step)
    kept = b"".join(line for _, line in lines)
    if content.startswith(kept):
        os.truncate(path, len(kept))
    else:
        write_whole(path, kept)
    return lines[-1][0] if lines else None


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """Appends one row; a value that is not finite becomes null, which JSON has a word for.

    The row is in the hands of the operating system when the call returns: a killed process loses none.
    """
    finite = {name: value if math.isfinite(value) else None for name, value in row.items()}
    with naming(path), path.open("ab") as file:
        file.write(json.dumps(finite, allow_nan=False).encode() + b"\n")


def read_rows(path: Path) -> list[Record]:
    """The whole rows of a journal, without the torn line that a killed run may have left; none when there is no file."""
    return [row for row, _ in _whole_lines(path.read_bytes(), None)] if path.exists() else []


def _whole_lines(content: bytes, last_step: int | None) -> list[tuple[Record, bytes]]:
    """The rows before the first that is past ``last_step``, each with its line; lines that are no rows are left out."""
    lines: list[tuple[Record, bytes]] = []
    for line in content.splitlines():
        row = _parse(line)
        if row is None:
            continue
        if last_step is not None and row["step"] > last_step:
            break
        lines.append((row, line + b"\n"))
    return lines


def _parse(line: bytes) -> Record | None:
    """The row of a line; None where it is torn, or is no object with a step."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
