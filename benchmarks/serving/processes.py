"""A contender with all of its processes: started, measured, and stopped to the last one (Linux)."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class ServerProcess:
    """A running server."""

    process: subprocess.Popen[bytes]
    log: Path
    others: frozenset[psutil.Process]
    """This process's descendants before the start."""

    def family(self) -> list[psutil.Process]:
        """All processes that the start has left, daemons too."""
        return [one for one in psutil.Process().children(recursive=True) if one not in self.others]

    def memory(self) -> int:
        """Bytes that its processes hold together: the sum of proportional set sizes, which counts a shared page once."""
        total = 0
        for one in self.family():
            with suppress(psutil.Error):
                total += one.memory_full_info().pss
        return total

    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")


def adopt_orphans() -> None:
    """Become the parent of every process whose parent ends, so that a contender's daemons are measured and stopped too."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[ServerProcess]:
    """Run a command in a folder, with its output in ``log.txt`` there; stop it and all it started when the block ends."""
    others = frozenset(psutil.Process().children(recursive=True))
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    server = ServerProcess(process, log, others)
    try:
        yield server
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        for end in (psutil.Process.terminate, psutil.Process.kill):
            family = server.family()
            for one in family:
                with suppress(psutil.Error):
                    end(one)
            psutil.wait_procs(family, STOP_SECONDS / 3)
        process.wait()
