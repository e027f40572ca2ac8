"""Batching without waiting: whoever is free takes all that waits.

A batcher lives on one event loop. A lone request is run in the loop's next turn, together with whatever arrived in this one;
what comes while a batch runs makes the next batch. There is no timer. A batch that is expected to be quick runs on the loop
itself, since handing it to a thread and back costs as much as a small model; any other runs in a thread of the batcher's own.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from contract import Array, Overrides
from serving.errors import QueueFull, ShuttingDown
from serving.latents.sources import RowSource
from serving.observability.metrics import BatchMeters
from serving.observability.timings import Batch

Run = Callable[[Sequence[RowSource], Sequence[Overrides]], Array]
"""Seeds, places between seeds, or rows of latents, and what each fixes, to one row a seed."""
Deliver = Callable[[Array | None, Exception | None], None]
"""Takes the rows, or what went wrong; must not raise."""

QUICK_SECONDS = 0.004
"""A batch that is expected to take longer does not run on the event loop."""


class Job:
    """The rows that one caller wants, and where they go."""

    __slots__ = ("seeds", "overrides", "deliver", "submitted", "batch")

    def __init__(self, seeds: Sequence[RowSource], overrides: Overrides, deliver: Deliver) -> None:
        self.seeds = seeds
        self.overrides = overrides
        self.deliver = deliver
        self.submitted = time.perf_counter()
        self.batch: Batch | None = None
        """The inference that it was a part of; known when it is delivered."""


class Batcher:
    """The queue in front of one model; every method is called on the event loop.

    Args:
        run: the model; seeds and given values to rows.
        max_batch: rows of one run, at most; a job must not have more.
        queue_limit: rows that may wait while a batch runs, at most.
        meters: where depth, waits and sizes are recorded.
        quick_seconds: how long a batch may be expected to take and still run on the loop.
    """

    def __init__(
        self, run: Run, *, max_batch: int, queue_limit: int, meters: BatchMeters, quick_seconds: float = QUICK_SECONDS
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._meters = meters
        self._quick_seconds = quick_seconds
        # What the last batch took, by the bits of its size; one of unknown cost runs in the thread.
        self._seconds: dict[int, float] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[Job] = deque()
        self._waiting_rows = 0
        self._shown_rows = 0
        self._is_due = False
        self._is_busy = False
        """Whether the last batch was of several jobs."""
        self._is_closed = False
        self._closers: list[asyncio.Future[None]] = []
        self.running_since: float | None = None
        """When the batch began that runs now (``time.monotonic``); None when none does."""

    def submit(self, job: Job) -> None:
        """Put a job into the queue; its ``deliver`` is called once, later, unless it is withdrawn.

        Raises:
            QueueFull: too much waits already.
            Draining: the batcher is closed.
        """
        rows = len(job.seeds)
        if not 1 <= rows <= self._max_batch:
            raise ValueError(f"a job must have 1..{self._max_batch} seeds, got {rows}")
        if self._is_closed:
            raise ShuttingDown()
        room = self._queue_limit + (0 if self.running_since else self._max_batch)
        if self._waiting_rows + rows > room:
            raise QueueFull(self._queue_limit)
        self._waiting.append(job)
        self._waiting_rows += rows
        if self.running_since:
            self._show_depth()
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look_again if self._is_busy else self._next)

    def withdraw(self, job: Job) -> None:
        """Forget a job that nobody wants any more; one that runs already, or has been delivered, is left alone."""
        if job in self._waiting:
            self._waiting.remove(job)
            self._waiting_rows -= len(job.seeds)
            self._show_depth()

    async def close(self) -> None:
        """Take no more work, and return when all that was accepted has been answered."""
        self._is_closed = True
        if self._waiting or self.running_since:
            closer = asyncio.get_running_loop().create_future()
            self._closers.append(closer)
            await closer
        if self._thread:
            self._thread.shutdown(wait=False)

    def _look_again(self) -> None:
        """Let the loop read its sockets once more: under load more has come by now, and makes the same batch."""
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._is_due = False
        if not self._waiting:
            return self._rest()
        jobs = self._take()
        self._is_busy = len(jobs) > 1
        seeds = [seed for job in jobs for seed in job.seeds]
        overrides = [job.overrides for job in jobs for _ in job.seeds]
        batch = Batch(len(seeds))
        self._meters.size(batch.rows)
        self.running_since = time.monotonic()
        if self._seconds.get(len(seeds).bit_length(), self._quick_seconds) < self._quick_seconds:
            self._finish(batch, jobs, *self._attempt(batch, seeds, overrides))
        else:
            self._thread = self._thread or ThreadPoolExecutor(1, "inference")
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._attempt, batch, seeds, overrides)
            running.add_done_callback(partial(self._land, batch, jobs))
        return None

    def _land(self, batch: Batch, jobs: Sequence[Job], running: asyncio.Future[tuple[Array | None, Exception | None]]) -> None:
        self._finish(batch, jobs, *running.result())

    def _attempt(
        self, batch: Batch, seeds: Sequence[RowSource], overrides: Sequence[Overrides]
    ) -> tuple[Array | None, Exception | None]:
        batch.begun = time.perf_counter()
        try:
            rows = self._run(seeds, overrides)
        except Exception as error:  # every member of the batch is told, and the next batch is another matter
            batch.ended = time.perf_counter()
            return None, error
        batch.ended = time.perf_counter()
        self._seconds[batch.rows.bit_length()] = batch.ended - batch.begun
        return rows, None

    def _finish(self, batch: Batch, jobs: Sequence[Job], rows: Array | None, error: Exception | None) -> None:
        self.running_since = None
        if self._waiting:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look_again)
        start = 0
        for job in jobs:
            job.batch = batch
            job.deliver(None if rows is None else rows[start : start + len(job.seeds)], error)
            start += len(job.seeds)
        if not self._waiting:
            self._rest()

    def _rest(self) -> None:
        """Nothing waits and nothing runs: whoever closes may go on."""
        closers, self._closers = self._closers, []
        for closer in closers:
            if not closer.done():
                closer.set_result(None)

    def _take(self) -> list[Job]:
        jobs: list[Job] = []
        rows = 0
        now = time.perf_counter()
        while self._waiting and rows + len(self._waiting[0].seeds) <= self._max_batch:
            job = self._waiting.popleft()
            jobs.append(job)
            rows += len(job.seeds)
            self._meters.wait(now - job.submitted)
        self._waiting_rows -= rows
        self._show_depth()
        return jobs

    def _show_depth(self) -> None:
        if self._waiting_rows != self._shown_rows:
            self._shown_rows = self._waiting_rows
            self._meters.depth(self._shown_rows)
