"""The files of the models in service, held open, so that a new engine can load them when others were renamed over them."""

from __future__ import annotations

import os
from collections.abc import Collection, Set
from contextlib import suppress
from pathlib import Path


class KeptFiles:
    """Files by the paths from which they were loaded; a file stays on the disk as long as it is held."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}

    def keep(self, path: Path) -> None:
        """Hold the file that is at this path now, instead of the one that was there before."""
        self.forget({path})
        with suppress(OSError):  # it is gone, or no descriptor is left
            self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

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
