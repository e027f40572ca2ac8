"""A batcher whose model a test holds and releases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from contract import Overrides
from serving.engine.backend import Job, LocalBackend, RunModel
from serving.engine.batcher import Batcher
from serving.observability.metrics import Metrics
from serving.observability.timings import Timings


def echo(seeds: Sequence[Any], given: Sequence[Overrides]) -> Any:
    """Rows that equal their seeds."""
    return np.array(seeds)


class HeldModel:
    """A model that signals when a run starts, and returns when released."""

    def __init__(self, run: RunModel = echo) -> None:
        self.batches: list[list[int]] = []
        self._run = run
        self._started = threading.Semaphore(0)
        self._released = threading.Semaphore(0)

    def __call__(self, seeds: Sequence[Any], given: Sequence[Overrides]) -> Any:
        self.batches.append(list(seeds))
        self._started.release()
        assert self._released.acquire(timeout=30)
        return self._run(seeds, given)

    async def wait_started(self) -> None:
        assert await asyncio.to_thread(self._started.acquire, timeout=30)

    def release(self, count: int = 1) -> None:
        self._released.release(count)


def make_batcher(
    run: RunModel,
    max_batch: int = 8,
    queue_limit: int = 1000,
    quick_seconds: float = 0,
    metrics: Metrics | None = None,
) -> tuple[Batcher, Metrics]:
    """A batcher that always runs in its thread unless ``quick_seconds`` is given, and its metrics, which others may share."""
    metrics = metrics or Metrics()
    backend = LocalBackend(run, max_batch=max_batch, quick_seconds=quick_seconds)
    return Batcher(backend, max_batch=max_batch, queue_limit=queue_limit, metrics=metrics), metrics


def depth(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("gan_queue_depth")


async def listed(rows: asyncio.Future[Any]) -> list[int]:
    return list((await rows).tolist())


def put(batcher: Batcher, sources: Sequence[int], overrides: Overrides | None = None) -> asyncio.Future[list[int]]:
    """Submit a job; the future has its rows or its error."""
    job = Job(sources, overrides or {}, Timings())
    batcher.submit(job)
    return asyncio.ensure_future(listed(job.rows))
