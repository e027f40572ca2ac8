"""The folder of one running TorchServe, for its keys and logs."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.torchserve.build import DeployError

KEYS = "key_file.json"
LOCK = ".lock"
"""Locked while a TorchServe has the folder; the empty file stays, so that two never lock different ones."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Have a folder for one TorchServe, whose keys are deleted at the end; it is made for its owner only.

    Raises:
        DeployError: another TorchServe has it, or others than its owner may enter it.
        OSError: it cannot be made or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(folder)
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


def _check_private(folder: Path) -> None:
    """Check that a folder is this user's alone; its mode is not changed, as others may need what else is there.

    Raises:
        DeployError: it is not.
    """
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise DeployError(f"{folder} is another user's, who could read the keys; name a new folder")
    if (mode := stat.S_IMODE(status.st_mode)) & 0o077:
        raise DeployError(f"{folder} is open to other users, mode {mode:o}, who could read the keys; name a new folder")
