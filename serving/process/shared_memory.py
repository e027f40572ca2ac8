"""Flags, counters and numbers in shared memory: lock-free, so safe in a signal handler and after a process was killed."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
from typing import NamedTuple


class SharedCounter:
    """An increasing number that any process may increment."""

    def __init__(self) -> None:
        self._number = multiprocessing.get_context("spawn").RawValue("Q", 0)

    def increment(self) -> None:
        """Add one. Two increments at the same moment may count as one: readers only test whether the number changed or grew."""
        self._number.value += 1

    def value(self) -> int:
        """The current number."""
        return int(self._number.value)


class SharedFlag:
    """A boolean that any process may set; it is never cleared.

    ``multiprocessing.Event`` takes a lock to be set or read: a second signal, or a process killed meanwhile, would deadlock.
    """

    def __init__(self) -> None:
        self._byte = multiprocessing.get_context("spawn").RawValue("b", 0)

    def set(self) -> None:
        """Set the flag for every process."""
        self._byte.value = 1

    def is_set(self) -> bool:
        """Whether any process has set it."""
        return bool(self._byte.value)


def shared_numbers(count: int) -> ctypes.Array[ctypes.c_double]:
    """Zeros in shared memory; each is read and written at once, without a lock."""
    return multiprocessing.get_context("spawn").RawArray(ctypes.c_double, count)


class ConnectionCounts(NamedTuple):
    """Numbers by which workers share connections, see ``serving.http.balance``: no worker takes any yet."""

    held: ctypes.Array[ctypes.c_double]
    given: ctypes.Array[ctypes.c_double]
    taken: ctypes.Array[ctypes.c_double]

    @classmethod
    def of(cls, workers: int) -> ConnectionCounts:
        """Numbers for ``workers`` workers."""
        counts = cls(shared_numbers(workers), shared_numbers(workers**2), shared_numbers(workers))
        for worker in range(workers):
            counts.forget(worker)
        return counts

    def forget(self, worker: int) -> None:
        """Note that a worker has ended."""
        self.held[worker] = math.inf
