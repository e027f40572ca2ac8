"""Where the batches of a model run. The local backend runs them in this process, on the event loop or in a thread.

A batch that is expected to be quick runs on the loop itself, since a thread hand-over costs as much as a small model; any other
batch runs in the backend's own thread. ``serving.engine.shared`` has the backend of the shared engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from contract import Array, Inputs, Overrides
from serving.engine.activity import Activity
from serving.engine.idle_cores import IdleCores
from serving.errors import NonFinite
from serving.latents.sources import RowSource
from serving.model.load import Model
from serving.observability.metrics import Metrics
from serving.observability.timings import BatchTimes, Timings

RunModel = Callable[[Sequence[RowSource], Sequence[Overrides]], Array]
"""A model: one source and its overrides per row to an array of rows."""
OnEnd = Callable[[Sequence[Array | Exception]], None]
"""Called on the event loop when a batch has ended: for each job its rows, or its error."""

QUICK_SECONDS = 0.004
"""A batch that is expected to take longer does not run on the event loop."""


class Rows(asyncio.Future[Array]):
    """The rows of a job, which one coroutine may await without a task."""

    resume: Callable[[], object] | None = None
    """Goes on with the coroutine that awaits the rows; called when they are there, in the same turn of the event loop."""


class Job:
    """Rows that one request needs from one batch.

    Args:
        sources: what each row is made from; at most a batch of them.
        overrides: parameter values that replace sampled ones, in every row.
        timings: get a ``Run`` when the batch ends.
    """

    __slots__ = ("sources", "overrides", "timings", "submitted", "rows", "batch", "first")

    def __init__(self, sources: Sequence[RowSource], overrides: Overrides, timings: Timings) -> None:
        self.sources = sources
        self.overrides = overrides
        self.timings = timings
        self.submitted = time.perf_counter()
        self.rows = Rows(loop=asyncio.get_running_loop())
        self.batch: BatchTimes | None = None
        """The batch that it is a part of; None while it waits."""
        self.first = 0
        """Its first row in that batch."""


class Backend(Protocol):
    """Where the batches of one model run; every method is called on the event loop."""

    def room(self) -> int:
        """The number of rows that may begin now."""

    def start(self, batch: BatchTimes, jobs: Sequence[Job], on_end: OnEnd) -> None:
        """Begin a batch for which there is room; ``on_end`` may be called before this returns.

        Args:
            batch: gets its times.
            jobs: its jobs.
            on_end: called once.
        """

    def drop(self, job: Job) -> None:
        """Say that no request waits any more for a job of a batch that runs."""


class LocalBackend:
    """Runs one batch after the other in this process.

    Args:
        run: the model.
        max_batch: maximum rows of one batch.
        quick_seconds: maximum expected duration of a batch that runs on the loop.
        activity: records each inference; None for one of its own.
    """

    def __init__(
        self,
        run: RunModel,
        *,
        max_batch: int,
        quick_seconds: float = QUICK_SECONDS,
        activity: Activity | None = None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._quick_seconds = quick_seconds
        self._activity = activity or Activity()
        # Duration of the latest batch by bit length of its size; a batch of unknown duration runs in the thread.
        self._seconds: dict[int, float] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._is_running = False

    def room(self) -> int:
        """A whole batch, or nothing while one runs."""
        return 0 if self._is_running else self._max_batch

    def start(self, batch: BatchTimes, jobs: Sequence[Job], on_end: OnEnd) -> None:
        """Run a batch on the loop if it is expected to be quick, else in the thread."""
        self._is_running = True
        self._activity.begin()
        end = partial(self._end, batch, on_end)
        if self._seconds.get(batch.rows.bit_length(), self._quick_seconds) < self._quick_seconds:
            end(self._infer(batch, jobs))
            return
        self._thread = self._thread or ThreadPoolExecutor(1, "inference")
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._infer, batch, jobs)
        except RuntimeError as error:  # the system gives no thread
            self._thread = None
            batch.begun = batch.ended = time.perf_counter()
            end([error] * len(jobs))
        else:
            running.add_done_callback(lambda done: end(done.result()))

    def drop(self, job: Job) -> None:
        """Change nothing: what runs is finished."""

    def _infer(self, batch: BatchTimes, jobs: Sequence[Job]) -> list[Array | Exception]:
        """Run a batch, timed; return the rows of each job, or its error."""
        batch.begun = time.perf_counter()
        outcomes = self._outcomes(jobs)
        batch.ended = time.perf_counter()
        if not any(isinstance(outcome, Exception) for outcome in outcomes):
            self._seconds[batch.rows.bit_length()] = batch.ended - batch.begun
        return outcomes

    def _outcomes(self, jobs: Sequence[Job]) -> list[Array | Exception]:
        """The rows of each job, or its error. Jobs with NaN are run again in halves, down to single jobs."""
        rows = self._run_jobs(jobs)
        if isinstance(rows, NonFinite) and len(jobs) > 1:
            middle = len(jobs) // 2
            return self._outcomes(jobs[:middle]) + self._outcomes(jobs[middle:])
        if isinstance(rows, Exception):
            return [rows] * len(jobs)
        firsts = [job.first - jobs[0].first for job in jobs]
        return [rows[first : first + len(job.sources)] for first, job in zip(firsts, jobs, strict=True)]

    def _run_jobs(self, jobs: Sequence[Job]) -> Array | Exception:
        try:
            return self._run(sources_of(jobs), overrides_of(jobs))
        except BaseException as error:  # delivered to each of the jobs; the next batch is not affected
            return error if isinstance(error, Exception) else RuntimeError(f"the run raised {error!r}")

    def _end(self, batch: BatchTimes, on_end: OnEnd, outcomes: Sequence[Array | Exception]) -> None:
        self._is_running = False
        self._activity.end(batch.ended - batch.begun)
        on_end(outcomes)


def sources_of(jobs: Sequence[Job]) -> list[RowSource]:
    """What each row of a batch is made from."""
    return [source for job in jobs for source in job.sources]


def overrides_of(jobs: Sequence[Job]) -> list[Overrides]:
    """The overrides of each row of a batch."""
    return [job.overrides for job in jobs for _ in job.sources]


def timed_run(model: Model, metrics: Metrics, idle_cores: IdleCores | None = None) -> Callable[[Inputs], Array]:
    """Return the function that runs the model and records the size and the time of each inference.

    Args:
        model: the model.
        metrics: get sizes and times.
        idle_cores: chooses inferences of more threads; None for a model with one session.
    """
    duration = metrics.inference.labels(model.card.name, model.provider)

    def run(inputs: Inputs) -> Array:
        start = time.perf_counter()
        count = len(next(iter(inputs.values())))
        is_wide = idle_cores is not None and idle_cores.are_used(count)
        rows = model.run(inputs, on_idle_cores=is_wide)
        seconds = time.perf_counter() - start
        metrics.batch_size.observe(count)
        duration.observe(seconds)
        if idle_cores:
            idle_cores.record(count, is_wide, seconds)
        padding = model.batching.padding(count)
        if padding:
            metrics.padding.inc(padding)
        return rows

    return run
