"""Batching without waiting: whoever is free runs the model for all that wait.

There is no thread of its own and no timer. The first request's thread becomes the leader and runs a batch; requests that come
meanwhile wait. When the batch is done, the leader makes the first of them the next leader, who takes all that wait, and so on.
A lone request therefore waits for nobody, and under load batches grow by themselves.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from contract import Given
from serving.errors import Draining, QueueFull
from serving.metrics import BatchMeters
from serving.runtime import Array

Run = Callable[[Sequence[int], Sequence[Given]], Array]
"""Seeds and what each fixes, to one row a seed."""


class Job:
    """The rows that one request wants, and the thread that waits for them."""

    __slots__ = ("seeds", "given", "rows", "error", "is_done", "_woken", "submitted")

    def __init__(self, seeds: Sequence[int], given: Given) -> None:
        self.seeds = seeds
        self.given = given
        self.rows: Array | None = None
        self.error: BaseException | None = None
        self.is_done = False
        self.submitted = time.perf_counter()
        self._woken = threading.Lock()  # a lock used as a one-time event costs a tenth of an Event
        self._woken.acquire()

    def wait(self) -> None:
        """Wait to be answered, or to be made the leader."""
        self._woken.acquire()

    def wake(self) -> None:
        self._woken.release()

    def answer(self) -> Array:
        """The rows.

        Raises:
            Exception: what the run raised for the whole batch.
        """
        if self.error is not None:
            raise self.error
        assert self.rows is not None
        return self.rows


class Batcher:
    """The queue in front of one model.

    Args:
        run: the model; seeds and given values to rows.
        max_batch: rows of one run, at most; a job must not have more.
        queue_limit: rows that may wait, at most.
        meters: where depth, waits and sizes are recorded.
    """

    def __init__(self, run: Run, *, max_batch: int, queue_limit: int, meters: BatchMeters) -> None:
        self._run = run
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._meters = meters
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._waiting: deque[Job] = deque()
        self._waiting_rows = 0
        self._shown_rows = 0
        self._is_led = False
        self._is_closed = False

    def submit(self, seeds: Sequence[int], given: Given) -> Array:
        """The rows of seeds that all fix the same values; blocks until they are there.

        Raises:
            QueueFull: too much waits already.
            Draining: the batcher is closed.
            Exception: the run failed; every member of the batch gets the same error.
        """
        if not 1 <= len(seeds) <= self._max_batch:
            raise ValueError(f"a job must have 1..{self._max_batch} seeds, got {len(seeds)}")
        job = Job(seeds, given)
        if not self._enter(job):
            job.wait()
        if not job.is_done:
            self._lead()
        return job.answer()

    def close(self) -> None:
        """Take no more work, and return when all that was accepted has been answered."""
        with self._lock:
            self._is_closed = True
            while self._is_led:
                self._idle.wait()

    def _enter(self, job: Job) -> bool:
        """Put a job in the queue; whether its thread now leads."""
        with self._lock:
            if self._is_closed:
                raise Draining()
            if self._is_led and self._waiting_rows + len(job.seeds) > self._queue_limit:
                raise QueueFull(self._queue_limit)
            self._waiting.append(job)
            self._waiting_rows += len(job.seeds)
            leads = not self._is_led
            self._is_led = True
            if not leads:
                self._show_depth()
            return leads

    def _lead(self) -> None:
        """Run one batch for all that wait, hand the lead on, and answer the batch; the leader's own job is its first."""
        jobs = self._take()
        try:
            self._run_batch(jobs)
        except BaseException as error:  # whoever accepted work answers it, whatever happened
            for job in jobs:
                job.error = error
        self._hand_on()
        for job in jobs:
            job.is_done = True
        for job in jobs[1:]:
            job.wake()

    def _take(self) -> list[Job]:
        jobs: list[Job] = []
        rows = 0
        with self._lock:
            while self._waiting and rows + len(self._waiting[0].seeds) <= self._max_batch:
                jobs.append(self._waiting.popleft())
                rows += len(jobs[-1].seeds)
            self._waiting_rows -= rows
            self._show_depth()
        return jobs

    def _show_depth(self) -> None:
        if self._waiting_rows != self._shown_rows:
            self._shown_rows = self._waiting_rows
            self._meters.depth(self._shown_rows)

    def _run_batch(self, jobs: list[Job]) -> None:
        now = time.perf_counter()
        for job in jobs:
            self._meters.wait(now - job.submitted)
        seeds = [seed for job in jobs for seed in job.seeds]
        given = [job.given for job in jobs for _ in job.seeds]
        self._meters.size(len(seeds))
        rows = self._run(seeds, given)
        start = 0
        for job in jobs:
            job.rows = rows[start : start + len(job.seeds)]
            start += len(job.seeds)

    def _hand_on(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting[0].wake()
            else:
                self._is_led = False
                self._idle.notify_all()
