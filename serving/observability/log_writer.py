"""The service's log on its way to standard output: lines are gathered, and written by a thread of their own.

A reader that does not read, or is gone, costs lines and holds up nobody: what finds no room is dropped and counted.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator

from serving.observability.logs import event_line

FLUSH_SECONDS = 0.1
FLUSH_BYTES = 2**16
"""So much is not kept waiting any longer."""
MAX_BUFFER_BYTES = 2**20
"""Of lines that wait, at most; some seconds of a busy worker."""
ATOMIC_WRITE_BYTES = 4096
"""What a pipe takes in one piece, whoever else writes to it (Linux's PIPE_BUF): lines of several workers are not mixed."""


class LogWriter:
    """Lines that are written soon, in order; any thread may add one.

    Args:
        descriptor: of the file that they are written to.
        room: bytes that may wait.
    """

    def __init__(self, descriptor: int, room: int = MAX_BUFFER_BYTES) -> None:
        self._descriptor = descriptor
        self._room = room
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._bytes = 0
        """Of all lines that are not written yet, those in the thread's hands included."""
        self._dropped = 0
        """Lines that were dropped since the log last said so."""
        self._count_dropped: Callable[[int], None] = lambda lines: None
        self._due, self._hurry = threading.Event(), threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def count_dropped(self, count: Callable[[int], None]) -> None:
        """Tell from now on how many lines are dropped."""
        self._count_dropped = count

    def event(self, event: str, **facts: object) -> None:
        """Add an event of the service, and do not let it wait."""
        self.write(event_line(event, facts))
        self._hurry.set()

    def write(self, line: str) -> None:
        """Add a line of ASCII, without its end; never waits."""
        with self._lock:
            has_room = self._bytes < self._room
            if has_room:
                self._lines.append(line)
                self._bytes += len(line) + 1
        if not has_room:
            self._drop(1)
        elif not self._due.is_set():
            self._due.set()
        elif self._bytes > FLUSH_BYTES and not self._hurry.is_set():
            self._hurry.set()

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, for so long at most, and take no more."""
        self._is_closing = True
        self._due.set()
        self._hurry.set()
        self._thread.join(seconds)

    def _work(self) -> None:
        while not (self._is_closing and not self._lines):
            self._due.wait()
            self._hurry.wait(FLUSH_SECONDS)
            if not self._is_closing:
                self._hurry.clear()
                self._due.clear()
            with self._lock:
                lines, self._lines = self._lines, []
            text = "\n".join([*lines, ""]).encode("ascii", "backslashreplace")
            taken = [self._put(piece) for piece in in_pieces(text)]  # each is tried, whatever became of those before it
            if all(taken):
                self._tell_dropped()

    def _put(self, piece: bytes) -> bool:
        """Whether it was taken."""
        rest, is_taken = piece, True
        try:
            while rest:
                rest = self._put_some(rest)
        except OSError:  # nobody reads, or there is no room; the next one may find better times
            is_taken = False
            self._drop(piece.count(b"\n"))
        with self._lock:
            self._bytes -= len(piece)
        return is_taken

    def _put_some(self, data: bytes) -> bytes:
        try:
            return data[os.write(self._descriptor, data) :]
        except BlockingIOError:  # somebody else has made it so that a write does not wait
            select.select([], [self._descriptor], [], FLUSH_SECONDS)
            return data

    def _drop(self, lines: int) -> None:
        with self._lock:
            self._dropped += lines
        self._count_dropped(lines)

    def _tell_dropped(self) -> None:
        """Once lines are taken again, say how many are missing."""
        if not self._dropped:
            return
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            notice = (event_line("log_dropped", {"lines": dropped}) + "\n").encode("ascii")
            self._bytes += len(notice)
        if not self._put(notice):  # not into the queue, which may be full again
            with self._lock:
                self._dropped += dropped


def in_pieces(lines: bytes) -> Iterator[bytes]:
    """As many whole lines at a time as are written in one piece; a longer one stands alone."""
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + ATOMIC_WRITE_BYTES) + 1 or lines.find(b"\n", start) + 1
        yield lines[start:end]
        start = end


def standard_output() -> int:
    """Where the log goes; nowhere if the program was started without it, and its number is another file's."""
    return sys.stdout.fileno() if sys.stdout else os.open(os.devnull, os.O_WRONLY)
