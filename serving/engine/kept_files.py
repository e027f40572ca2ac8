"""Files of models in service, held open, so that a new engine or worker can load them when others were renamed over them."""

from __future__ import annotations

import os
import resource
from collections.abc import Collection, Set
from dataclasses import dataclass
from multiprocessing import reduction
from pathlib import Path
from typing import Any

MOST_HELD = 200
"""Files that a process holds at most: a message between processes carries 253 descriptors."""


@dataclass(frozen=True, kw_only=True)
class ServedFile:
    """A model in service and its file; to a process that is started it goes with its descriptor."""

    path: Path
    """From which it was loaded; another file may be there by now."""
    name: str
    digest: str
    """SHA-256."""
    descriptor: int | None
    """Of the file; None if it is not held."""

    def __reduce__(self) -> tuple[Any, ...]:
        duplicate = None if self.descriptor is None else reduction.DupFd(self.descriptor)
        return _unpickled, (self.path, self.name, self.digest, duplicate)


def _unpickled(path: Path, name: str, digest: str, duplicate: Any) -> ServedFile:
    return ServedFile(path=path, name=name, digest=digest, descriptor=duplicate.detach() if duplicate else None)


class KeptFiles:
    """Descriptors of files by the paths from which they were loaded; a file stays on the disk as long as it is held."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}
        # The launcher has up to three of each for a moment, and a worker needs them for its clients.
        self._most = min(MOST_HELD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)

    def hold(self, path: Path, descriptor: int | None) -> None:
        """Hold a file instead of the one that was held for this path; it is closed if there are too many."""
        self.forget({path})
        if descriptor is not None and len(self._descriptors) < self._most:
            self._descriptors[path] = descriptor
        else:
            close(descriptor)

    def forget(self, paths: Collection[Path]) -> None:
        """Let files go."""
        for path in paths:
            close(self._descriptors.pop(path, None))

    def paths(self) -> Set[Path]:
        """Return the paths whose files are held."""
        return self._descriptors.keys()

    def descriptor(self, path: Path) -> int | None:
        """Return the descriptor of the file held for this path; None if there is none."""
        return self._descriptors.get(path)

    def address(self, path: Path) -> Path | None:
        """Return a path to the file held for this path, for every process of this user; None if there is none."""
        descriptor = self.descriptor(path)
        return None if descriptor is None else Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def open_file(path: Path) -> int | None:
    """A descriptor of a file, opened without waiting; None if it is gone, or no descriptor is left."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def close(descriptor: int | None) -> None:
    """Close a descriptor if there is one."""
    if descriptor is not None:
        os.close(descriptor)
