"""What processes tell each other without a lock: claims and counts in shared memory, safe in a signal handler."""

from __future__ import annotations

import multiprocessing


class SharedCounter:
    """A number that processes share; each may raise it, and it never falls."""

    def __init__(self) -> None:
        self._number = multiprocessing.get_context("spawn").RawValue("Q", 0)

    def increment(self) -> None:
        """One more; two at the same moment may count as one, which is enough to be noticed."""
        self._number.value += 1

    def value(self) -> int:
        """As it is now."""
        return int(self._number.value)


class SharedFlag:
    """A claim that processes share: one byte and no lock, so that a signal handler may make it at any moment.

    An Event holds a lock while it is set or asked; a second signal, or a process killed there, would hold it for ever.
    """

    def __init__(self) -> None:
        self._byte = multiprocessing.get_context("spawn").RawValue("b", 0)

    def set(self) -> None:
        """From now on it holds, in every process."""
        self._byte.value = 1

    def is_set(self) -> bool:
        """Whether any process has set it."""
        return bool(self._byte.value)
