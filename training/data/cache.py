"""Decoded pictures on disk: written block by block with checksums, and read through the map of one file.

A data set that does not fit into memory is one tensor all the same: the system keeps in memory what was read last.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import time
import weakref
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.files import LOCK, locked

BLOCK, BLOCK_BYTES = 1024, 2**26
"""Pictures that are decoded, written and recorded together, and their bytes at most; a kill loses at most one block."""
SAY_EVERY_S = 10.0
ITEMS, BLOCKS = "items.u8", "blocks.jsonl"
UNUSED_DAYS = 30
"""Days without a start after which a file is deleted."""

Fill = Callable[[int, NDArray[np.uint8]], bool]
"""Decodes the pictures from a number on into an array; False where one cannot be, and the block is not kept."""
Prefetch = Callable[[Tensor], None]
"""Tells the system which items are read next, so that it reads them while the nets compute."""


def open_cache(
    folder: Path, shape: tuple[int, int, int, int], fill: Fill, say: Callable[[str], None]
) -> tuple[Tensor, bool, Prefetch]:
    """Items uint8 [N,3,size,size] of a file, whether all are grey, and the file's ``Prefetch``.

    What the file holds is checked, and what is missing or damaged is decoded, also after a kill. Processes take turns.

    Args:
        folder: folder of the file, made if absent.
        shape: [N,3,size,size].
        fill: decodes a block.
        say: receives what was decoded, and how fast.

    Raises:
        OSError: the disk is full or read-only.
    """
    waiting = f"another job decodes or checks these pictures; waiting for it to leave {folder}"
    with locked(folder, wait=lambda: say(waiting)):
        os.utime(folder / LOCK)  # by which ``forget_unused`` knows of this start
        are_grey = _complete(folder, shape, fill, say)
    items = torch.from_file(str(folder / ITEMS), shared=True, size=int(np.prod(shape)), dtype=torch.uint8).view(shape)
    return items, are_grey, _prefetch(folder / ITEMS, int(np.prod(shape[1:])))


def forget_unused(caches: Path, keep: Path, say: Callable[[str], None]) -> None:
    """Delete the folders of ``caches`` that no start has opened for ``UNUSED_DAYS``; changed folders leave some.

    What a process has mapped stays readable until the process ends.
    """
    for journal in caches.glob(f"*/{BLOCKS}"):
        folder, lock = journal.parent, journal.with_name(LOCK)
        with suppress(OSError):  # in use, another user's, or deleted meanwhile
            if folder == keep or time.time() - lock.stat().st_mtime < UNUSED_DAYS * 86_400:
                continue
            with lock.open() as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            say(f"deleted decoded pictures that were not used for {UNUSED_DAYS} days: {folder}")


def _complete(folder: Path, shape: tuple[int, int, int, int], fill: Fill, say: Callable[[str], None]) -> bool:
    """Decode every block that the file does not hold as recorded; whether all pictures are grey."""
    known = _read_blocks(folder / BLOCKS)
    length = max(1, min(BLOCK, BLOCK_BYTES // math.prod(shape[1:])))
    said_s = time.monotonic()
    decoded, decoding_s, are_grey = 0, 1e-9, True
    descriptor = os.open(folder / ITEMS, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        for first in range(0, shape[0], length):
            block = np.empty((min(length, shape[0] - first), *shape[1:]), np.uint8)
            offset = first * block[0].nbytes
            entry = known.get(first)
            if entry is None or zlib.crc32(os.pread(descriptor, block.nbytes, offset)) != entry["crc"]:
                began_s = time.monotonic()
                if not fill(first, block):
                    continue
                entry = {"first": first, "crc": zlib.crc32(block.data), "grey": is_grey(block)}
                _write(descriptor, block, offset)
                with (folder / BLOCKS).open("a") as journal:
                    journal.write(json.dumps(entry) + "\n")
                decoded, decoding_s = decoded + len(block), decoding_s + time.monotonic() - began_s
            are_grey = are_grey and entry["grey"]
            if (now_s := time.monotonic()) - said_s > SAY_EVERY_S:
                how = f"decoded {decoded:,}, {decoded / decoding_s:,.0f} a second" if decoded else "checked"
                say(f"{first + len(block):,} of {shape[0]:,} pictures are there ({how})")
                said_s = now_s
    finally:
        os.close(descriptor)
    rate = f", {decoded / decoding_s:,.0f} a second" if decoded else ""
    say(f"decoded {decoded:,} pictures{rate}; {shape[0] - decoded:,} were in {folder}")
    return are_grey


def _read_blocks(path: Path) -> dict[int, dict[str, Any]]:
    """What each block should hold; lines that a kill cut are left out."""
    known = {}
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
            known[int(entry["first"])] = {"crc": int(entry["crc"]), "grey": bool(entry["grey"])}
        except (ValueError, KeyError, TypeError):
            continue
    return known


def _write(descriptor: int, block: NDArray[np.uint8], offset: int) -> None:
    """Write all of a block; a full disk is an error here, where through the map it would end the process."""
    left = block.data.cast("B")
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def is_grey(block: NDArray[np.uint8]) -> bool:
    """Whether no picture of [N,3,H,W] has a coloured pixel."""
    return np.array_equal(block[:, 0], block[:, 1]) and np.array_equal(block[:, 0], block[:, 2])


def _prefetch(path: Path, item: int) -> Prefetch:
    descriptor = os.open(path, os.O_RDONLY)

    def prefetch(indices: Tensor) -> None:
        for index in indices.tolist():
            os.posix_fadvise(descriptor, index * item, item, os.POSIX_FADV_WILLNEED)

    weakref.finalize(prefetch, os.close, descriptor)
    return prefetch
