"""Dynamic batching without a timer: an idle batcher runs everything that is queued.

A batcher belongs to one event loop. A job is run in the loop's next turn, together with all jobs submitted in this one; jobs
submitted while a batch runs form the next batch. A batch that is expected to be quick runs on the loop itself, since a thread
hand-over costs as much as a small model; any other batch runs in the batcher's own thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np

from contract import Array, Overrides
from serving.engine.activity import Activity
from serving.errors import NonFinite, QueueFull, ShuttingDown
from serving.latents.sources import RowSource
from serving.observability.metrics import BatchMetrics
from serving.observability.timings import Batch, Run, Timings

RunModel = Callable[[Sequence[RowSource], Sequence[Overrides]], Array]
"""The model: one source and its overrides per row to an array of rows."""

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
        max_batch: maximum rows of one batch, and of one job.
        queue_limit: maximum rows that wait while a batch runs.
        metrics: records queue depth, waiting times and batch sizes.
        quick_seconds: maximum expected duration of a batch that runs on the loop.
        activity: records each inference; None for one of its own.
    """

    def __init__(
        self,
        run: RunModel,
        *,
        max_batch: int,
        queue_limit: int,
        metrics: BatchMetrics,
        quick_seconds: float = QUICK_SECONDS,
        activity: Activity | None = None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._metrics = metrics
        self._quick_seconds = quick_seconds
        self._activity = activity or Activity()
        # Duration of the latest batch by bit length of its size; a batch of unknown duration runs in the thread.
        self._seconds: dict[int, float] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[Job] = deque()
        self._waiting_rows = 0
        self._recorded_depth = 0
        self._is_scheduled = False
        """Whether ``_run_next`` is scheduled on the loop."""
        self._is_busy = False
        """Whether the latest batch had several jobs."""
        self._is_closed = False
        self._closers: list[asyncio.Future[None]] = []
        self.running_since: float | None = None
        """Start of the running batch (``time.monotonic``); None when idle."""

    async def sample(self, sources: Sequence[RowSource], overrides: Overrides, timings: Timings) -> Array:
        """Run the model: one row per source; cancelling withdraws what still waits.

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

    def check_room(self, rows: int) -> None:
        """Check that rows can be queued now; of more rows than a batch holds, the first batch.

        Raises:
            QueueFull: the queue has no room for them.
            ShuttingDown: the batcher is closed.
        """
        if self._is_closed:
            raise ShuttingDown()
        room = self._queue_limit + (0 if self.running_since else self._max_batch)
        if self._waiting_rows + min(rows, self._max_batch) > room:
            raise QueueFull(self._queue_limit)

    def submit(self, job: Job) -> None:
        """Queue a job; its future ``rows`` is resolved when its batch ends, unless the job is withdrawn.

        Raises:
            QueueFull: the queue has no room for the job.
            ShuttingDown: the batcher is closed.
        """
        rows = len(job.sources)
        if not 1 <= rows <= self._max_batch:
            raise ValueError(f"a job must have 1..{self._max_batch} sources, got {rows}")
        self.check_room(rows)
        self._waiting.append(job)
        self._waiting_rows += rows
        job.timings.is_queued = True
        if self.running_since:
            self._record_depth()
        elif not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._run_after_next_turn if self._is_busy else self._run_next)

    def withdraw(self, job: Job) -> None:
        """Remove a waiting job; a job that runs or was delivered is not affected."""
        if job in self._waiting:
            self._waiting.remove(job)
            self._waiting_rows -= len(job.sources)
            self._record_depth()

    async def close(self) -> None:
        """Refuse new jobs, and return when all accepted ones have been delivered."""
        self._is_closed = True
        if self._waiting or self.running_since:
            closer = asyncio.get_running_loop().create_future()
            self._closers.append(closer)
            await closer
        if self._thread:
            self._thread.shutdown(wait=False)

    def _run_after_next_turn(self) -> None:
        """Let the loop read its sockets once more: under load, requests that have arrived by now join the batch."""
        asyncio.get_running_loop().call_soon(self._run_next)

    def _run_next(self) -> None:
        self._is_scheduled = False
        if not self._waiting:
            return self._resolve_closers()
        jobs = self._take_jobs()
        self._is_busy = len(jobs) > 1
        batch = Batch(sum(len(job.sources) for job in jobs))
        self._metrics.size(batch.rows)
        self.running_since = time.monotonic()
        self._activity.begin()
        if self._seconds.get(batch.rows.bit_length(), self._quick_seconds) < self._quick_seconds:
            self._deliver(batch, jobs, self._infer(batch, jobs))
        else:
            self._thread = self._thread or ThreadPoolExecutor(1, "inference")
            try:
                running = asyncio.get_running_loop().run_in_executor(self._thread, self._infer, batch, jobs)
            except RuntimeError as error:  # the system gives no thread
                self._thread = None
                batch.begun = batch.ended = time.perf_counter()
                self._deliver(batch, jobs, [error] * len(jobs))
            else:
                running.add_done_callback(lambda done: self._deliver(batch, jobs, done.result()))
        return None

    def _infer(self, batch: Batch, jobs: Sequence[Job]) -> list[Array | Exception]:
        """Run a batch; return the rows of each job, or its error. A batch with NaN is run again, job by job."""
        batch.begun = time.perf_counter()
        rows = self._run_jobs(jobs)
        if isinstance(rows, NonFinite) and len(jobs) > 1:
            outcomes = [self._run_jobs([job]) for job in jobs]
        elif isinstance(rows, Exception):
            outcomes = [rows] * len(jobs)
        else:
            ends = list(accumulate(len(job.sources) for job in jobs))
            outcomes = [rows[end - len(job.sources) : end] for job, end in zip(jobs, ends, strict=True)]
        batch.ended = time.perf_counter()
        if not isinstance(rows, Exception):
            self._seconds[batch.rows.bit_length()] = batch.ended - batch.begun
        return outcomes

    def _run_jobs(self, jobs: Sequence[Job]) -> Array | Exception:
        try:
            return self._run(
                [source for job in jobs for source in job.sources], [job.overrides for job in jobs for _ in job.sources]
            )
        except BaseException as error:  # delivered to each of the jobs; the next batch is not affected
            return error if isinstance(error, Exception) else RuntimeError(f"the run raised {error!r}")

    def _deliver(self, batch: Batch, jobs: Sequence[Job], outcomes: Sequence[Array | Exception]) -> None:
        self.running_since = None
        self._activity.end(batch.ended - batch.begun)
        if self._waiting:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._run_after_next_turn)
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.timings.runs.append(Run(job.submitted, batch))
            if not job.rows.done():  # else it was cancelled while the batch ran
                if isinstance(outcome, Exception):
                    job.rows.set_exception(outcome)
                else:
                    job.rows.set_result(outcome)
        if not self._waiting:
            self._resolve_closers()

    def _resolve_closers(self) -> None:
        """Resolve pending ``close`` calls; the batcher is idle."""
        closers, self._closers = self._closers, []
        for closer in closers:
            if not closer.done():
                closer.set_result(None)

    def _take_jobs(self) -> list[Job]:
        """Remove as many jobs from the queue as one batch holds."""
        jobs: list[Job] = []
        rows = 0
        now = time.perf_counter()
        while self._waiting and rows + len(self._waiting[0].sources) <= self._max_batch:
            job = self._waiting.popleft()
            jobs.append(job)
            rows += len(job.sources)
            job.timings.is_queued = False
            self._metrics.wait(now - job.submitted)
        self._waiting_rows -= rows
        self._record_depth()
        return jobs

    def _record_depth(self) -> None:
        if self._waiting_rows != self._recorded_depth:
            self._recorded_depth = self._waiting_rows
            self._metrics.depth(self._recorded_depth)
