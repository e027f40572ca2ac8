"""Where rows run: programs are started there, and ended when an end is asked for."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from training.__main__ import main
from training.errors import TrainingError

TRAINING = ("-m", "training")


class ProgramError(TrainingError):
    """A program ended with another exit code than 0."""

    def __init__(self, arguments: Sequence[str], code: int) -> None:
        super().__init__(f"python {' '.join(arguments)} ended with exit code {code}")
        self.code = code


class Stopped(Exception):
    """The user asked to stop; finished results are kept."""


@dataclass(kw_only=True)
class Workspace:
    """Where rows run and where their results go. Several threads may run programs at a time."""

    docs: Path
    runs: Path
    root: Path
    """The repository, from which programs are started."""
    has_cuda: bool
    say: Callable[[str], None]
    device: str = "auto"
    workers: int = 1
    """Threads that run rows."""
    stop: int = 0
    """The signal that asked for an end, or 0."""
    _children: set[subprocess.Popen[bytes]] = field(default_factory=set, repr=False)

    def run(self, arguments: Sequence[str]) -> None:
        """Python with these arguments, its output to ours.

        Raises:
            Stopped: an end was asked for; ProgramError: the program failed.
        """
        if self.stop:
            raise Stopped
        child = subprocess.Popen([sys.executable, *arguments], cwd=self.root)
        self._children.add(child)
        if self.stop:  # the signal came after it was started and before it was among the children
            child.send_signal(signal.SIGTERM)  # type: ignore[unreachable]
        code = child.wait()
        self._children.discard(child)
        if self.stop:
            raise Stopped
        if code:
            raise ProgramError(arguments, code)

    def run_here(self, arguments: Sequence[str]) -> None:
        """``python -m training`` with these arguments in this process; in one of its own where several threads run rows.

        Raises:
            Stopped, ProgramError: as ``run``.
        """
        if self.workers > 1:
            self.run([*TRAINING, *arguments])
            return
        if self.stop:
            raise Stopped
        if code := main([*arguments]):
            raise ProgramError([*TRAINING, *arguments], code)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """SIGTERM and SIGINT reach the programs that run, which then save checkpoints; no other is started."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self.stop = number
        for child in list(self._children):
            child.send_signal(signal.SIGTERM)
