"""Files of models in service, held open, so that a new engine or worker can load them when others were renamed over them."""

from __future__ import annotations

import os
from collections.abc import Collection, Set
from dataclasses import dataclass
from pathlib import Path

FileStamp = tuple[int, int, int, int]
"""Device, inode, modification time in nanoseconds, size."""


def stamp_of(status: os.stat_result) -> FileStamp:
    """The stamp by which a change of a file is detected."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


@dataclass(frozen=True, kw_only=True)
class GoodFile:
    """A model file that a worker has served."""

    address: Path
    """Where it is held open, when another file may be at its path."""
    digest: str
    """SHA-256 of the model."""


class KeptFiles:
    """Files by the paths from which they were loaded; a file stays on the disk as long as it is held."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}

    def keep(self, path: Path, loaded: FileStamp | None, *, address: Path | None = None) -> bool:
        """Hold the file at a path instead of the one that was held for it.

        Args:
            path: the path from which it was loaded.
            loaded: its stamp then; a file of another stamp is not held. None holds any.
            address: where the file is now, if not at its path.

        Returns:
            Whether it is held.
        """
        try:
            descriptor = os.open(address or path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # it is gone, or no descriptor is left
            return False
        if loaded and stamp_of(os.fstat(descriptor)) != loaded:
            os.close(descriptor)
            return False
        self.forget({path})
        self._descriptors[path] = descriptor
        return True

    def forget(self, paths: Collection[Path]) -> None:
        """Let files go."""
        for path in paths:
            if path in self._descriptors:
                os.close(self._descriptors.pop(path))

    def paths(self) -> Set[Path]:
        """Return the paths whose files are held."""
        return self._descriptors.keys()

    def address(self, path: Path) -> Path | None:
        """Return a path to the file held for this path, for every process of this user; None if there is none."""
        descriptor = self._descriptors.get(path)
        return None if descriptor is None else Path(f"/proc/{os.getpid()}/fd/{descriptor}")
