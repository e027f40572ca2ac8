"""The folder of one running TorchServe, for its keys and logs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.torchserve.build import DeployError

KEYS = "key_file.json"
LOCK = ".lock"
"""Locked while a TorchServe has the folder; the empty file stays, so that two never lock different ones."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Have a folder for one TorchServe, whose keys are deleted at the end.

    Raises:
        DeployError: another TorchServe has it.
        OSError: it cannot be made or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeployError(f"{folder} has the keys of a TorchServe that is running; name another folder") from None
        try:
            yield
        finally:
            (folder / KEYS).unlink(missing_ok=True)
    finally:
        os.close(descriptor)
