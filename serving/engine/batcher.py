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

import numpy as np

from contract import Array, Overrides
from serving.errors import QueueFull, ShuttingDown
from serving.latents.sources import RowSource
from serving.observability.metrics import BatchMeters
from serving.observability.timings import Batch, Run, Timings

RunModel = Callable[[Sequence[RowSource], Sequence[Overrides]], Array]
"""Sources and the overrides of each, to one row a source."""

QUICK_SECONDS = 0.004
"""A batch that is expected to take longer does not run on the event loop."""


class Job:
    """Rows that one request needs from one batch.

    Args:
        sources: what each row is made from; at most a batch of them.
        overrides: parameter values that replace sampled ones, in every row.
        timings: get a ``Run`` when the batch ends.
    """

    __slots__ = ("sources", "overrides", "timings", "submitted", "rows")

    def __init__(self, sources: Sequence[RowSource], overrides: Overrides, timings: Timings) -> None:
        self.sources = sources
        self.overrides = overrides
        self.timings = timings
        self.submitted = time.perf_counter()
        self.rows: asyncio.Future[Array] = asyncio.get_running_loop().create_future()


class Batcher:
    """The queue in front of one model; every method is called on the event loop.

    Args:
        run: the model.
        max_batch: rows of one run, at most; a job must not have more.
        queue_limit: rows that may wait while a batch runs, at most.
        meters: where depth, waits and sizes are recorded.
        quick_seconds: how long a batch may be expected to take and still run on the loop.
    """

    def __init__(
        self, run: RunModel, *, max_batch: int, queue_limit: int, meters: BatchMeters, quick_seconds: float = QUICK_SECONDS
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

    async def sample(self, sources: Sequence[RowSource], overrides: Overrides, timings: Timings) -> Array:
        """Run the model: one row a source; cancelling withdraws what still waits.

        More rows than a batch holds are run one batch after the other, with those of other requests in between.

        Args:
            sources: what each row is made from.
            overrides: parameter values that replace sampled ones, in every row.
            timings: get a ``Run`` for each batch.

        Raises:
            QueueFull, ShuttingDown: the rows are refused.
            Exception: the batch failed.
        """
        parts = []
        for start in range(0, len(sources), self._max_batch):
            job = Job(sources[start : start + self._max_batch], overrides, timings)
            self.submit(job)
            try:
                parts.append(await job.rows)
            except asyncio.CancelledError:
                self.withdraw(job)
                raise
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def submit(self, job: Job) -> None:
        """Put a job into the queue; its future ``rows`` is resolved when its batch ends, unless it is withdrawn.

        Raises:
            QueueFull: too much waits already.
            ShuttingDown: the batcher is closed.
        """
        rows = len(job.sources)
        if not 1 <= rows <= self._max_batch:
            raise ValueError(f"a job must have 1..{self._max_batch} sources, got {rows}")
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
            self._waiting_rows -= len(job.sources)
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
        sources = [source for job in jobs for source in job.sources]
        overrides = [job.overrides for job in jobs for _ in job.sources]
        batch = Batch(len(sources))
        self._meters.size(batch.rows)
        self.running_since = time.monotonic()
        if self._seconds.get(batch.rows.bit_length(), self._quick_seconds) < self._quick_seconds:
            self._finish(batch, jobs, *self._attempt(batch, sources, overrides))
        else:
            self._thread = self._thread or ThreadPoolExecutor(1, "inference")
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._attempt, batch, sources, overrides)
            running.add_done_callback(partial(self._land, batch, jobs))
        return None

    def _land(self, batch: Batch, jobs: Sequence[Job], running: asyncio.Future[tuple[Array | None, Exception | None]]) -> None:
        self._finish(batch, jobs, *running.result())

    def _attempt(
        self, batch: Batch, sources: Sequence[RowSource], overrides: Sequence[Overrides]
    ) -> tuple[Array | None, Exception | None]:
        batch.begun = time.perf_counter()
        try:
            rows = self._run(sources, overrides)
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
            end = start + len(job.sources)
            job.timings.runs.append(Run(job.submitted, batch))
            if not job.rows.done():  # else it was cancelled while the batch ran
                if rows is None:
                    job.rows.set_exception(error or RuntimeError("a batch gave neither rows nor an error"))
                else:
                    job.rows.set_result(rows[start:end])
            start = end
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
        while self._waiting and rows + len(self._waiting[0].sources) <= self._max_batch:
            job = self._waiting.popleft()
            jobs.append(job)
            rows += len(job.sources)
            self._meters.wait(now - job.submitted)
        self._waiting_rows -= rows
        self._show_depth()
        return jobs

    def _show_depth(self) -> None:
        if self._waiting_rows != self._shown_rows:
            self._shown_rows = self._waiting_rows
            self._meters.depth(self._shown_rows)
