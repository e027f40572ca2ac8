"""Checkpoints: each is whole or absent. Kept are the newest whole ones, to continue from, and that of the lowest KID."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from training.errors import CheckpointError, OutOfMemory, is_out_of_memory
from training.files import refuse_stream, write_whole

KEEP = 2
"""Whole checkpoints that are kept, if not said otherwise."""
BEST = "best.pt"
"""The checkpoint of the evaluation with the lowest KID; ``save`` does not delete it."""
UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, MemoryError)
"""What torch and the system raise: of a damaged file, and of one that does not fit into memory."""
_ARCHIVE = b"PK"
"""The beginning of what ``torch.save`` writes."""
_NAME = re.compile(r"checkpoint-(\d{9})\.pt")
_LISTINGS = 5
"""How often a folder is listed before it counts as one without checkpoints."""


class Damaged(Exception):
    """A file is not what was written."""


def save(folder: Path, state: Mapping[str, Any], *, keep: int = KEEP) -> Path:
    """Write ``state`` as the checkpoint of its step, then delete all but the newest ``keep`` whole ones.

    Raises:
        CheckpointError, OSError: as ``write``; earlier checkpoints are kept.
    """
    path = folder / f"checkpoint-{state['step']:09d}.pt"
    write(path, state)
    whole = 0
    for old in _found(folder):
        if whole >= keep:
            old.unlink()
        else:
            whole += old == path or _is_whole(old)
    return path


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Replace a file by ``state``: a temporary file, fsync, rename.

    The file is what ``torch.save`` writes, followed by its SHA-256 (32 bytes), so that a flipped bit is detected.

    Raises:
        CheckpointError: a tensor is not finite; nothing was written.
        OSError: the disk is full or read-only; the file is as it was.
    """
    bad = [name for name, tensor in _tensors("", state) if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise CheckpointError(f"step {state['step']}: not saved, {bad[0]} is not finite ({len(bad)} such tensors)")
    payload = pack(state)
    write_whole(path, payload, hashlib.sha256(payload).digest())


def pack(state: Mapping[str, Any]) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def unpack(payload: bytes, device: torch.device) -> dict[str, Any]:
    """A packed state, with its tensors on the device; code in it is not run."""
    return cast(dict[str, Any], torch.load(io.BytesIO(payload), map_location=device, weights_only=True))


def load_newest(folder: Path, *, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole checkpoint, or None where there is none; and why each newer one was skipped.

    Raises:
        CheckpointError: there are checkpoints and none is whole.
        OutOfMemory, PermissionError: as ``read``, of one that is newer than the newest whole one.
    """
    damaged: list[str] = []
    for path in _found(folder):
        try:
            return read(path, device=device), damaged
        except FileNotFoundError:  # the run goes on, and has saved a newer one
            return load_newest(folder, device=device)
        except Damaged as error:  # an older one must not replace a file that may be whole
            damaged.append(f"{path.name}: {error}")
    if damaged:
        raise CheckpointError(f"no checkpoint in {folder} is whole: {'; '.join(damaged)}")
    return None, []


def _found(folder: Path) -> list[Path]:
    """Checkpoints, newest step first.

    One listing does not do: a run that goes on may delete the checkpoint that it named, and it need not name the newer one.
    """
    for _ in range(_LISTINGS):
        files = [p for p in folder.glob("checkpoint-*.pt") if _NAME.fullmatch(p.name) and p.is_file()]
        if files:
            return sorted(files, reverse=True)
    return []


def _ends_in_its_digest(path: Path) -> bool:
    """Whether a file is an archive that ends in the SHA-256 of what stands before it; read in pieces.

    Raises:
        OSError: the file is not there, or cannot be read.
    """
    with path.open("rb") as file:
        digest, left = hashlib.sha256(), os.fstat(file.fileno()).st_size - 32  # at the path another file may be by now
        if file.read(len(_ARCHIVE)) != _ARCHIVE:  # a file of other content may have any size
            return False
        file.seek(0)
        while left > 0 and (piece := file.read(min(left, 2**20))):
            digest.update(piece)
            left -= len(piece)
        return file.read() == digest.digest()


def _is_whole(path: Path) -> bool:
    """Whether this user can read a file, and it is what ``write`` wrote."""
    try:
        return _ends_in_its_digest(path)
    except OSError:
        return False


def read(path: Path, *, device: torch.device) -> dict[str, Any]:
    """The state in a file of ``write``.

    Raises:
        Damaged: the file is not what was written.
        FileNotFoundError: there is none.
        OutOfMemory, PermissionError: it may be whole, but it does not fit into memory, or this user may not read it.
        TrainingError: it is a pipe or a device, which would be read without end.
    """
    refuse_stream(path)
    try:
        if not _ends_in_its_digest(path):
            raise ValueError(f"damaged: {path.stat().st_size} bytes whose SHA-256 is not the one at their end")
        return unpack(path.read_bytes()[:-32], device)
    except (FileNotFoundError, PermissionError):
        raise
    except UNREADABLE as error:
        raise (OutOfMemory(error) if is_out_of_memory(error) else Damaged(str(error))) from None


def _tensors(name: str, value: object) -> list[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        return [(name, value)]
    if isinstance(value, Mapping):
        return [found for key, part in value.items() for found in _tensors(f"{name}.{key}".lstrip("."), part)]
    if isinstance(value, list | tuple):
        return [found for i, part in enumerate(value) for found in _tensors(f"{name}.{i}", part)]
    return []
