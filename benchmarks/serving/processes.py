"""A server with all of its processes: started, weighed, and ended to the last one (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
STOP_SECONDS = 15.0


class StartError(Exception):
    """A server did not come up; the message says what it said last."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    log: Path
    others: frozenset[int]
    """What this process had for descendants before."""

    def pids(self) -> list[int]:
        """All processes that the start has left, daemons too."""
        return [pid for pid in descendants() if pid not in self.others]

    def last_words(self, lines: int = 3) -> str:
        """The end of what it has printed."""
        text = self.log.read_text(errors="replace")
        return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])[-400:]


def adopt_orphans() -> None:
    """Become the parent of whatever a server's processes leave behind, so that it is weighed and ended with the rest."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Server]:
    """The command at work in a folder, everything it wrote in ``log.txt`` there; ended when the block ends."""
    others = frozenset(descendants())
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    server = Server(process, log, others)
    try:
        yield server
    finally:
        _end(server)


def _end(server: Server) -> None:
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(STOP_SECONDS)
    pause = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS / 3
        for pid in server.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        while time.monotonic() < deadline and server.pids():
            _reap(server)
            pause.wait(0.05)
    server.process.wait()


def _reap(server: Server) -> None:
    server.process.poll()
    for pid in server.pids():
        if pid != server.process.pid:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def descendants(of: int | None = None) -> list[int]:
    """Every process below one, or below this one."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found = list(children.get(os.getpid() if of is None else of, []))
    for pid in found:  # grows as it is walked
        found.extend(children.get(pid, []))
    return found


def memory(pids: Sequence[int]) -> int:
    """Bytes that processes hold together: the sum of proportional set sizes, a shared page counted once."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total
