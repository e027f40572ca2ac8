"""Threads of torch's operators on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch

from contract.cores import usable_cores

VARIABLE = "OMP_NUM_THREADS"
"""By which a user, and torchrun for several processes, says how many threads there are."""
MOST_WAITED = 0.5
"""Time that all threads together waited for a core, divided by the time that passed; on free cores it is next to nothing."""
LEAST_S = 10.0
"""Seconds that are looked at, at least."""


def limit_threads(environ: Mapping[str, str]) -> None:
    """Let torch have no more threads than a container's quota has cores: it looks at the affinity alone.

    On a node of 64 cores a pod with two of them would have 64 threads, each of which waits for all others in every operator.
    """
    if VARIABLE not in environ and (cores := usable_cores()) < torch.get_num_threads():
        torch.set_num_threads(cores)


class BusyCores:
    """Notices, once, that other programs use the cores of a job on the CPU: then fewer threads are many times as fast.

    All threads wait at the end of each operator for the one that has no core. With one of two cores busy two threads made 1
    step of the default recipe a second, and one thread made 8.
    """

    def __init__(
        self, device: torch.device, *, tasks: Path = Path("/proc/self/task"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to look. ``tasks`` has a folder for each thread, as Linux has; elsewhere nothing is noticed."""
        self._is_done = device.type != "cpu" or torch.get_num_threads() == 1
        self._tasks, self._clock = tasks, clock
        self._since = (clock(), 0.0 if self._is_done else self._waited_s())

    def warnings(self) -> list[str]:
        """A sentence where the threads waited for long since the last look; empty else, and after the first."""
        (before_s, waited_before_s), now_s = self._since, self._clock()
        if self._is_done or now_s - before_s < LEAST_S:
            return []
        self._since = (now_s, self._waited_s())
        share = (self._since[1] - waited_before_s) / (now_s - before_s)
        self._is_done = share > MOST_WAITED
        if not self._is_done:
            return []
        threads = f"this job's {torch.get_num_threads()} threads, which wait for each other, waited for one"
        return [f"other programs use the cores: {threads} for {share:.0%} of the time; {VARIABLE}=1 may be many times as fast"]

    def _waited_s(self) -> float:
        """Seconds in which a thread could have run and no core was free, of all threads together."""
        waited_ns = 0
        for path in self._tasks.glob("*/schedstat"):
            with suppress(OSError, ValueError, IndexError):  # a thread may have ended
                waited_ns += int(path.read_text().split()[1])
        return waited_ns / 1e9
