"""Which workers run inferences: shared memory by which a worker finds out whether the cores of all others are idle."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

MIN_REST_SECONDS = 0.002
"""A worker counts as busy for at least this long after an inference: it encodes, sends, and reads the next requests."""


class BusyTimes(Protocol):
    """For each worker, the time (``time.monotonic``) until which it is busy; infinite while it runs an inference."""

    def __setitem__(self, index: int, busy_until: float, /) -> None: ...
    def __getitem__(self, indices: slice, /) -> Sequence[float]: ...


class Activity:
    """The inferences of this worker and of the others; used on the event loop.

    Each worker writes its own number only, so that none waits for another or is misled by a killed one for longer than until
    its successor starts.

    Args:
        busy_until: numbers of all workers, in shared memory.
        index: place of this worker's number.
        clock: the time, which is the same in every process.
    """

    def __init__(
        self, busy_until: BusyTimes | None = None, index: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._busy_until = [0.0] if busy_until is None else busy_until
        self._index = index
        self._clock = clock
        self._running = 0
        self._is_alone = True
        self._busy_until[index] = 0.0

    def is_alone(self) -> bool:
        """Whether the latest inference of this worker began while no other one shared the cores."""
        return self._is_alone

    def begin(self) -> None:
        """Record the start of an inference."""
        others = self._busy_until[: self._index], self._busy_until[self._index + 1 :]
        now = self._clock()
        self._is_alone = not self._running and all(max(times, default=0.0) <= now for times in others)
        self._running += 1
        self._busy_until[self._index] = math.inf

    def end(self, seconds: float) -> None:
        """Record the end of an inference; its rows are encoded and sent in a time that grows with that of the inference."""
        self._running -= 1
        if not self._running:
            self._busy_until[self._index] = self._clock() + max(MIN_REST_SECONDS, seconds)
