"""The table of the models in service and their files, which the launcher holds for workers that it starts."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from serving.engine.kept_files import MOST_HELD, ServedFile, close

MOST_BYTES = 150_000
"""Of a report; a longer one would not fit into a socket's buffer."""


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What a worker is given at its start."""

    table: tuple[ServedFile, ...]
    """The models in service, in their order; empty until a worker has served."""
    reports: socket.socket

    def report(self, table: Sequence[ServedFile]) -> None:
        """Say what is in service now. A table that is too long for a message is none: workers then start as at first."""
        rows = [(str(row.path), row.name, row.digest, row.descriptor is not None) for row in table]
        descriptors = [row.descriptor for row in table if row.descriptor is not None]
        message = json.dumps(rows).encode()
        if len(message) > MOST_BYTES:
            message, descriptors = b"[]", []
        with suppress(OSError):  # the launcher has ended, or reads nothing
            socket.send_fds(self.reports, [message], descriptors, socket.MSG_DONTWAIT)


class ServedTable:
    """Follows what the workers report, in a thread of the launcher: the latest report counts."""

    def __init__(self) -> None:
        self._receiver, self._reports = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self._table: tuple[ServedFile, ...] = ()
        self._lock = threading.Lock()
        threading.Thread(target=self._follow, daemon=True).start()

    @contextmanager
    def handed_over(self) -> Iterator[Handover]:
        """What a worker that is started in this context is given; it has the descriptors then."""
        with self._lock:
            table = tuple(replace(row, descriptor=_duplicate(row.descriptor)) for row in self._table)
        try:
            yield Handover(table=table, reports=self._reports)
        finally:
            for row in table:
                close(row.descriptor)

    def _follow(self) -> None:
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._receiver, MOST_BYTES, MOST_HELD)
            if not message:
                return
            table = _rows(message, descriptors)
            with self._lock:
                table, self._table = self._table, table
            for row in table:
                close(row.descriptor)


def _rows(message: bytes, descriptors: Sequence[int]) -> tuple[ServedFile, ...]:
    rows = json.loads(message)
    if len(descriptors) < sum(is_held for *_, is_held in rows):  # the launcher has none left: which are missing is not known
        for descriptor in descriptors:
            os.close(descriptor)
        descriptors, rows = (), [(*row, False) for *row, _ in rows]
    rest = iter(descriptors)
    return tuple(
        ServedFile(path=Path(path), name=name, digest=digest, descriptor=next(rest) if is_held else None)
        for path, name, digest, is_held in rows
    )


def _duplicate(descriptor: int | None) -> int | None:
    if descriptor is not None:
        with suppress(OSError):  # no descriptor is left
            return os.dup(descriptor)
    return None
