"""The log's writer thread: lines are buffered and written to standard output in the background.

A slow or closed reader never blocks the service: lines beyond the buffer's limit are dropped and counted.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from serving.observability.logs import event_line

FLUSH_SECONDS = 0.4
FLUSH_BYTES = 2**18
"""Buffered bytes that are written without waiting for ``FLUSH_SECONDS``."""
MAX_BUFFER_BYTES = 2**20
"""Maximum bytes of buffered lines; a few seconds of a busy worker."""
ATOMIC_WRITE_BYTES = 4096
"""Bytes that a pipe takes atomically (Linux's PIPE_BUF), so that lines of writers without a common lock do not mix."""

TURNS_FILE = "log.turns"
"""Name of the file that the launcher and its workers lock to write the log, in the directory of the metrics."""


class LogWriter:
    """Writes lines in order from a thread; any thread may add one.

    Args:
        descriptor: file descriptor to write to.
        max_buffer_bytes: maximum bytes of buffered lines.
        turns: a file that all processes with this descriptor lock to write; None where none of them does.
    """

    def __init__(self, descriptor: int, max_buffer_bytes: int = MAX_BUFFER_BYTES, turns: Path | None = None) -> None:
        self._descriptor = descriptor
        self._turns = turns.open("wb") if turns else None
        self._max_buffer_bytes = max_buffer_bytes
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._bytes = 0
        """Bytes of all lines not yet written, including those that the thread is writing."""
        self._dropped = 0
        """Lines dropped since the latest ``log_dropped`` event."""
        self._on_dropped: Callable[[int], None] = lambda lines: None
        self._has_lines, self._flush_now = threading.Event(), threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    def on_dropped(self, callback: Callable[[int], None]) -> None:
        """Call ``callback`` with the number of lines each time lines are dropped."""
        self._on_dropped = callback

    def event(self, event: str, **facts: object) -> None:
        """Add an event of the service and flush."""
        self.write(event_line(event, facts))
        self._flush_now.set()

    def write(self, line: str) -> None:
        """Add a line of ASCII without its line break; never blocks."""
        with self._lock:
            has_room = self._bytes < self._max_buffer_bytes
            if has_room:
                self._lines.append(line)
                self._bytes += len(line) + 1
        if not has_room:
            self._drop(1)
        elif not self._has_lines.is_set():
            self._has_lines.set()
        elif self._bytes > FLUSH_BYTES and not self._flush_now.is_set():
            self._flush_now.set()

    def close(self, seconds: float = 1.0) -> None:
        """Write the buffered lines within ``seconds`` and end the thread."""
        self._is_closing = True
        self._has_lines.set()
        self._flush_now.set()
        self._thread.join(seconds)
        if self._turns and not self._thread.is_alive():
            self._turns.close()

    def _run(self) -> None:
        while not (self._is_closing and not self._lines):
            self._has_lines.wait()
            self._flush_now.wait(FLUSH_SECONDS)
            if not self._is_closing:
                self._flush_now.clear()
                self._has_lines.clear()
            with self._lock:
                lines, self._lines = self._lines, []
            self._write_text("\n".join([*lines, ""]).encode("ascii", "backslashreplace"))

    def _write_text(self, text: bytes) -> None:
        """Write lines, and how many were dropped before them.

        Each write gives up the interpreter, and taking it back stops the event loop until a core is free for this thread. With
        a turn of its own among the processes the thread needs one write, not one for each chunk that a pipe takes atomically.
        """
        if self._turns:
            fcntl.flock(self._turns, fcntl.LOCK_EX)  # freed by the kernel if the process is killed
        chunks = [text] if self._turns and text else split_chunks(text)
        results = [self._write_chunk(chunk) for chunk in chunks]  # try each, even if an earlier one failed
        if all(results):
            self._report_dropped()
        if self._turns:
            fcntl.flock(self._turns, fcntl.LOCK_UN)

    def _write_chunk(self, chunk: bytes) -> bool:
        """Write whole lines; whether they were written."""
        rest, is_written = chunk, True
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:  # another process has made the shared descriptor non-blocking
                    select.select([], [self._descriptor], [], FLUSH_SECONDS)
        except OSError:  # the reader is gone or the disk is full; a later write may succeed
            is_written = False
            self._drop(rest.count(b"\n"))
        with self._lock:
            self._bytes -= len(chunk)
        return is_written

    def _drop(self, lines: int) -> None:
        with self._lock:
            self._dropped += lines
        self._on_dropped(lines)

    def _report_dropped(self) -> None:
        """Write how many lines were dropped, now that lines can be written again."""
        if not self._dropped:
            return
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            notice = (event_line("log_dropped", {"lines": dropped}) + "\n").encode("ascii")
            self._bytes += len(notice)
        if not self._write_chunk(notice):  # written directly: the buffer may be full again
            with self._lock:
                self._dropped += dropped


def split_chunks(lines: bytes) -> Iterator[bytes]:
    """Split into chunks of as many whole lines as a pipe takes atomically; a longer line is a chunk of its own."""
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + ATOMIC_WRITE_BYTES) + 1 or lines.find(b"\n", start) + 1
        yield lines[start:end]
        start = end


def standard_output() -> int:
    """File descriptor of standard output; /dev/null if the program was started without one, since 1 may be another file."""
    return sys.stdout.fileno() if sys.stdout else os.open(os.devnull, os.O_WRONLY)
