"""Reading of untrusted files, and whole writes of small ones."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from serving.errors import ModelError


def read_file(path: Path, limit: int, *, by: str = "") -> bytes:
    """The bytes of a regular file, opened once. A pipe or a device is refused without blocking.

    Args:
        path: the file.
        limit: size in bytes, at most.
        by: what sets the limit, for the error message.

    Raises:
        ModelError: it cannot be read, is no regular file, or does not have 1..``limit`` bytes.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelError("it must be a regular file")
            if not 0 < status.st_size <= limit:
                raise ModelError(f"the file must have 1..{limit} bytes{by}, has {status.st_size}")
            return file.read(limit)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}") from None


def replace_file(path: Path, text: str) -> None:
    """Write a file under another name, random since containers that share the folder have equal process ids, and rename it.

    Raises:
        OSError: the folder cannot be written; then no new file is left there.
    """
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(8)}")
    try:
        with partial.open("x") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # else a loss of power leaves an empty file
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
