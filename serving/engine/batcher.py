"""Dynamic batching without a timer: an idle batcher runs everything that is queued.

A batcher belongs to one event loop. A job is run in the loop's next turn, together with all jobs submitted in this one; jobs
submitted while its backend has no room form the next batch.

Requests of more rows than a batch holds wait in a line of their own, each with one batch at a time: however many rows they
still need, they take no place from others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

import numpy as np

from contract import Array, Overrides
from serving.engine.backend import Backend, Job
from serving.errors import QueueFull
from serving.latents.sources import RowSource
from serving.observability.metrics import Metrics
from serving.observability.timings import BatchTimes, Run, Timings


class _Line:
    """Jobs that wait, and the number of their rows."""

    __slots__ = ("jobs", "rows")

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.rows = 0


class Batcher:
    """The queue in front of one model; every method is called on the event loop.

    Args:
        backend: runs the batches.
        max_batch: maximum rows of one batch, and of one job.
        queue_limit: maximum rows of newcomers that wait while the backend has no room; as many of requests of several batches.
        metrics: records queue depth and waiting times.
    """

    def __init__(self, backend: Backend, *, max_batch: int, queue_limit: int, metrics: Metrics) -> None:
        self.backend = backend
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._record_wait = metrics.queue_wait.observe
        self._deepen_queue = metrics.queue_depth.inc
        self._single = _Line()
        """Jobs that are a whole request."""
        self._bulk = _Line()
        """The next batch of each request that has several."""
        self._overtaken = 0
        """Rows of whole requests that have gone since the latest batch of ``_bulk``, while that was waiting."""
        self._recorded_depth = 0
        self._running: dict[BatchTimes, float] = {}
        """Start of each running batch, the earliest first."""
        self._is_scheduled = False
        """Whether ``_run_next`` is scheduled on the loop."""
        self._is_busy = False
        """Whether the latest batch had several jobs."""

    @property
    def running_since(self) -> float | None:
        """Start of the earliest running batch (``time.monotonic``); None when idle."""
        return next(iter(self._running.values()), None)

    async def sample(self, sources: Sequence[RowSource], overrides: Overrides, timings: Timings) -> Array:
        """Run the model: one row per source; cancelling withdraws what still waits.

        More rows than a batch holds are run one batch after the other, with those of other requests in between; a request that
        has begun is not refused any more.

        Args:
            sources: what each row is made from.
            overrides: parameter values that replace sampled ones, in every row.
            timings: get a ``Run`` for each batch.

        Raises:
            QueueFull: the rows are refused.
            Exception: the batch failed.
        """
        if len(sources) > self._max_batch:
            self.check_room(len(sources))
        parts = []
        for start in range(0, len(sources), self._max_batch):
            job = Job(sources[start : start + self._max_batch], overrides, timings)
            if len(sources) > self._max_batch:
                self._append(job, self._bulk)
            else:
                self.submit(job)
            try:
                parts.append(await job.rows)
            except asyncio.CancelledError:
                self.withdraw(job)
                raise
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def check_room(self, rows: int) -> None:
        """Check that the rows of a new request can be queued now; of more rows than a batch holds, the first batch.

        Raises:
            QueueFull: the queue has no room for them.
        """
        line = self._single if rows <= self._max_batch else self._bulk
        if line.rows + min(rows, self._max_batch) > self._queue_limit + self.backend.room():
            raise QueueFull(self._queue_limit)

    def submit(self, job: Job) -> None:
        """Queue a whole request; its job's future ``rows`` is resolved when its batch ends, unless the job is withdrawn.

        Raises:
            QueueFull: the queue has no room for the job.
        """
        rows = len(job.sources)
        if not 1 <= rows <= self._max_batch:
            raise ValueError(f"a job must have 1..{self._max_batch} sources, got {rows}")
        self.check_room(rows)
        self._append(job, self._single)

    def _append(self, job: Job, line: _Line) -> None:
        line.jobs.append(job)
        line.rows += len(job.sources)
        job.timings.is_queued = True
        if not self._is_scheduled and not self._schedule(after_next_turn=self._is_busy):
            self._record_depth()

    def withdraw(self, job: Job) -> None:
        """Remove a waiting job; the backend may skip one that runs."""
        if job.batch in self._running:
            self.backend.drop(job)
            return
        for line in (self._single, self._bulk):
            if job in line.jobs:
                line.jobs.remove(job)
                line.rows -= len(job.sources)
                self._record_depth()
                if not self._is_scheduled:  # there may be room for the one behind
                    self._schedule(after_next_turn=self._is_busy)

    def _schedule(self, *, after_next_turn: bool) -> bool:
        """Plan the next batch if the backend has room for the first waiting job; whether it has."""
        waiting = self._next_line().jobs
        if not waiting or len(waiting[0].sources) > self.backend.room():
            return False
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._run_after_next_turn if after_next_turn else self._run_next)
        return True

    def _run_after_next_turn(self) -> None:
        """Let the loop read its sockets once more: under load, requests that have arrived by now join the batch."""
        asyncio.get_running_loop().call_soon(self._run_next)

    def _run_next(self) -> None:
        self._is_scheduled = False
        jobs = self._take_jobs()
        if not jobs:
            return
        self._is_busy = len(jobs) > 1
        batch = BatchTimes(sum(len(job.sources) for job in jobs))
        first = 0
        for job in jobs:
            job.batch, job.first = batch, first
            first += len(job.sources)
        self._running[batch] = time.monotonic()
        self.backend.start(batch, jobs, partial(self._deliver, batch, jobs))
        if not self._is_scheduled:
            self._schedule(after_next_turn=self._is_busy)

    def _deliver(self, batch: BatchTimes, jobs: Sequence[Job], outcomes: Sequence[Array | Exception]) -> None:
        del self._running[batch]
        if not self._is_scheduled:
            self._schedule(after_next_turn=True)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if batch.begun:  # else its backend was lost
                job.timings.runs.append(Run(job.submitted, batch))
                self._record_wait(batch.begun - job.submitted)
            if not job.rows.done():  # else it was cancelled while the batch ran
                if isinstance(outcome, Exception):
                    job.rows.set_exception(outcome)
                else:
                    job.rows.set_result(outcome)
        for job in jobs:
            resume, job.rows.resume = job.rows.resume, None  # forgotten: the coroutine holds the job
            if resume:
                resume()

    def _next_line(self) -> _Line:
        """Whose jobs are next: whole requests, until a batch of their rows has overtaken a request of several batches."""
        is_bulk = self._bulk.jobs and (not self._single.jobs or self._overtaken >= self._max_batch)
        return self._bulk if is_bulk else self._single

    def _take_jobs(self) -> list[Job]:
        """Remove as many jobs from the queue as one batch holds."""
        jobs: list[Job] = []
        most = min(self._max_batch, self.backend.room())
        first = self._next_line()
        rows = self._take_from(first, most, jobs)
        if first is self._bulk and rows:
            self._overtaken = 0
            self._take_from(self._single, most - rows, jobs)  # the end of a large request shares its batch with others
        elif self._bulk.jobs and rows:
            self._overtaken = 0 if self._take_from(self._bulk, most - rows, jobs) else self._overtaken + rows
        self._record_depth()
        return jobs

    def _take_from(self, line: _Line, most: int, jobs: list[Job]) -> int:
        """Move the first jobs of a line, up to a number of rows, to others; the number of their rows."""
        waiting, rows = line.jobs, 0
        while waiting and rows + len(waiting[0].sources) <= most:
            job = waiting.popleft()
            jobs.append(job)
            rows += len(job.sources)
            job.timings.is_queued = False
        line.rows -= rows
        return rows

    def _record_depth(self) -> None:
        depth = self._single.rows + self._bulk.rows
        change = depth - self._recorded_depth
        if change:
            self._recorded_depth = depth
            self._deepen_queue(change)
