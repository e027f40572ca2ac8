"""Whether an inference takes the session of more threads: when it has all cores, and that session is the faster one."""

from __future__ import annotations

import math
from collections import defaultdict

from serving.engine.activity import Activity

PERIOD, TRIAL = 2048, 32
"""Inferences with all cores in a period, and in each of the two trials that begin it: with more threads, then without."""
COLD = 4
"""Inferences that do not count after a change of the session, while its weights come into the caches."""
WEIGHT = 0.2
"""Weight of the latest duration in the average of a session's durations."""


class IdleCores:
    """Chooses the session of each inference of one model.

    More threads are not always faster: an inference may be too small, or other programs use the cores. So the durations of both
    sessions are compared, by bit length of the batch size. A single inference would not do: of a DCGAN of 64x64 the first
    after a change of the session takes 5 ms, later ones 2.

    Args:
        activity: tells whether the inference has all cores.
    """

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._seconds: defaultdict[tuple[bool, int], float] = defaultdict(lambda: math.inf)
        self._counts: defaultdict[int, int] = defaultdict(int)
        self._was_wide = False
        self._in_a_row = 0

    def are_used(self, rows: int) -> bool:
        """Whether the inference that begins, of that many rows, is one of more threads."""
        if not self._activity.is_alone():
            return False
        size = rows.bit_length()
        turn = self._counts[size] % PERIOD
        self._counts[size] += 1
        if turn < 2 * TRIAL:
            return turn < TRIAL
        return self._seconds[True, size] < self._seconds[False, size]

    def record(self, rows: int, is_wide: bool, seconds: float) -> None:
        """Record the duration of the inference; one that shared the cores says nothing about idle ones."""
        self._in_a_row = self._in_a_row + 1 if is_wide == self._was_wide else 0
        self._was_wide = is_wide
        if self._activity.is_alone() and self._in_a_row >= COLD:
            key = (is_wide, rows.bit_length())
            average = seconds if self._seconds[key] == math.inf else self._seconds[key]
            self._seconds[key] = average + WEIGHT * (seconds - average)
