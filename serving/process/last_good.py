"""The last good file of each model, held open by the launcher, for workers that start when another file is at its path."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serving.engine.kept_files import FileStamp, GoodFile, KeptFiles

MOST_BYTES = 2**15
"""Of a report: a path has 4,096 at most, and a byte that is no UTF-8 takes six."""


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What a worker is given at its start."""

    files: dict[Path, GoodFile]
    """Last good files by the paths from which they were loaded; empty until a worker has served."""
    reports: socket.socket

    def report(self, path: Path, digest: str | None, stamp: FileStamp | None) -> None:
        """Say that the model of this digest is served from a file of this stamp; None if none is from this path any longer."""
        with suppress(OSError):  # the launcher has ended, or reads nothing
            self.reports.send(json.dumps([str(path), digest, stamp]).encode(), socket.MSG_DONTWAIT)


class LastGoodFiles:
    """Follows what the workers report, in a thread of the launcher."""

    def __init__(self) -> None:
        self._receiver, self._reports = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self._kept = KeptFiles()
        self._digests: dict[Path, str] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._follow, daemon=True).start()

    def hand_over(self) -> Handover:
        """Return what a worker that starts now is given; the files are in the order in which they were first reported."""
        with self._lock:
            found = {path: (self._kept.address(path), digest) for path, digest in self._digests.items()}
        files = {path: GoodFile(address=address, digest=digest) for path, (address, digest) in found.items() if address}
        return Handover(files=files, reports=self._reports)

    def _follow(self) -> None:
        while data := self._receiver.recv(MOST_BYTES):
            name, digest, stamp = json.loads(data)
            path = Path(name)
            with self._lock:
                if digest is None:
                    self._digests.pop(path, None)
                    self._kept.forget({path})
                elif self._kept.keep(path, tuple(stamp)):
                    self._digests[path] = digest
