"""Whether an inference takes the session of more threads: when it has all cores, and that session is the faster one."""

from __future__ import annotations

from collections import defaultdict

from serving.engine.activity import Activity

WEIGHT = 0.2
"""Weight of the latest duration in the average of a session's durations."""
TRY_EVERY = 64
"""One of this number of inferences with all cores tries the slower session, which may have become the faster one."""


class IdleCores:
    """Chooses the session of each inference of one model.

    More threads are not always faster: an inference may be too small, or other programs use the cores. So the durations of both
    sessions are compared, by bit length of the batch size.

    Args:
        activity: tells whether the inference has all cores.
    """

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._seconds: dict[tuple[bool, int], float] = {}
        self._counts: defaultdict[int, int] = defaultdict(int)

    def are_used(self, rows: int) -> bool:
        """Whether the inference that begins, of that many rows, is one of more threads."""
        if not self._activity.is_alone():
            return False
        size = rows.bit_length()
        wide, narrow = self._seconds.get((True, size)), self._seconds.get((False, size))
        if wide is None or narrow is None:
            return wide is None
        self._counts[size] += 1
        is_try = self._counts[size] % TRY_EVERY == 0
        return (wide < narrow) != is_try

    def record(self, rows: int, is_wide: bool, seconds: float) -> None:
        """Record the duration of the inference; one that shared the cores says nothing about idle ones."""
        if self._activity.is_alone():
            key = (is_wide, rows.bit_length())
            average = self._seconds.get(key, seconds)
            self._seconds[key] = average + WEIGHT * (seconds - average)
