"""Files in which prometheus_client shares metrics between processes, allocated on disk before they are mapped.

prometheus_client maps sparse files. On a full disk, a write to a page without a block is SIGBUS, which ends the process.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from prometheus_client import mmap_dict, values

FILE_BYTES = 2**16
"""Initial size of a file: ``mmap_dict._INITIAL_MMAP_SIZE``."""
LOST_BYTES = 16
"""Bytes at the end of the mapping that take the values for which there is no room; no reader sees them."""


class AllocatedDict(mmap_dict.MmapedDict):
    """prometheus_client's map of metrics to values. Metrics for which the disk has no room are lost; nothing else fails."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            with open(filename, "ab") as file:
                os.posix_fallocate(file.fileno(), 0, max(FILE_BYTES, os.fstat(file.fileno()).st_size))
        except OSError:
            with suppress(OSError):
                Path(filename).unlink()  # a sparse file, or one without a header, which no scrape could read
            filename = f"/proc/self/fd/{os.memfd_create('metrics')}"
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
        self._capacity = len(self._m) - LOST_BYTES
        self._is_full = False

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + 32 > self._capacity and not self._allocate():  # 32: length, padding, value, time
            self._positions[key] = self._capacity
            return
        super()._init_value(key)  # type: ignore[no-untyped-call]
        self._capacity = len(self._m) - LOST_BYTES

    def _allocate(self) -> bool:
        """Double the file; whether there was room. After a failure it never grows: ``LOST_BYTES`` must stay where they are."""
        if not self._is_full:
            try:
                os.posix_fallocate(self._f.fileno(), 0, 2 * self._capacity)
            except OSError:
                self._is_full = True
        return not self._is_full


def use_allocated_files() -> None:
    """Make prometheus_client use ``AllocatedDict``; call this before any metric is created."""
    values.MmapedDict = AllocatedDict  # type: ignore[attr-defined]
