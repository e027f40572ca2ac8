"""Stamps of files, by which their changes are noticed."""

from __future__ import annotations

import os
from pathlib import Path

from serving.model.signatures import signature_file

FileStamp = tuple[int, int, int, int]
"""Device, inode, modification time in nanoseconds, size."""

Stamp = tuple[FileStamp, FileStamp | None]
"""Stamps of a model file and of its signature file, which may be written later."""


def stamp(path: Path) -> Stamp | None:
    """The stamp by which a change of a model file is detected; None if the file is missing."""
    model = _file_stamp(path)
    return None if model is None else (model, _file_stamp(signature_file(path)))


def file_stamp_of(status: os.stat_result) -> FileStamp:
    """The stamp of a file of this status."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _file_stamp(path: Path) -> FileStamp | None:
    try:
        return file_stamp_of(path.stat())
    except OSError:
        return None
