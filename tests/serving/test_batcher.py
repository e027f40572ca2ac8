"""The batcher's laws: everything accepted is answered once, with its own rows, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import Given
from serving.batcher import Batcher, Run
from serving.errors import Draining, QueueFull
from serving.metrics import BatchMeters, Metrics


def echo(seeds: Sequence[int], given: Sequence[Given]) -> Any:
    """Rows that are their seeds."""
    return np.array(seeds)


class Gate:
    """A run that tells when it has begun and goes on when it is let."""

    def __init__(self, run: Run = echo) -> None:
        self.batches: list[list[int]] = []
        self._run = run
        self._begun = threading.Semaphore(0)
        self._let = threading.Semaphore(0)

    def __call__(self, seeds: Sequence[int], given: Sequence[Given]) -> Any:
        self.batches.append(list(seeds))
        self._begun.release()
        assert self._let.acquire(timeout=30)
        return self._run(seeds, given)

    def wait_begun(self) -> None:
        assert self._begun.acquire(timeout=30)

    def let(self, count: int = 1) -> None:
        self._let.release(count)


def make_batcher(run: Run, max_batch: int = 8, queue_limit: int = 1000) -> tuple[Batcher, Metrics]:
    metrics = Metrics()
    return Batcher(run, max_batch=max_batch, queue_limit=queue_limit, meters=BatchMeters(metrics)), metrics


def wait_for_depth(metrics: Metrics, depth: int) -> None:
    """Return when so many rows wait."""
    pause = threading.Event()
    for _ in range(30_000):
        if metrics.registry.get_sample_value("gan_queue_depth") == depth:
            return
        pause.wait(0.001)
    raise AssertionError(f"the queue never held {depth}")


def submit_in_order(pool: ThreadPoolExecutor, batcher: Batcher, metrics: Metrics, sizes: Sequence[int]) -> list[Future[Any]]:
    """Jobs that wait behind a running one, in this order; job i has the seeds 100i, 100i+1, ..."""
    futures = []
    depth = 0
    for place, size in enumerate(sizes, 1):
        futures.append(pool.submit(batcher.submit, range(100 * place, 100 * place + size), {}))
        depth += size
        wait_for_depth(metrics, depth)
    return futures


def test_a_lone_request_is_run_at_once() -> None:
    """A request on an idle batcher runs in its own thread, alone."""
    threads = []

    def run(seeds: Sequence[int], given: Sequence[Given]) -> Any:
        threads.append(threading.current_thread())
        return echo(seeds, given)

    batcher, _ = make_batcher(run)
    assert batcher.submit([7], {}).tolist() == [7]
    assert threads == [threading.current_thread()]


def test_what_waits_is_run_together_in_order() -> None:
    """Eight requests that wait while one runs make one batch of eight, first come first."""
    gate = Gate()
    batcher, metrics = make_batcher(gate)
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(batcher.submit, [1], {})
        gate.wait_begun()
        futures = submit_in_order(pool, batcher, metrics, [1] * 8)
        gate.let(2)
        assert first.result(30).tolist() == [1]
        assert [f.result(30).tolist() for f in futures] == [[100 * i] for i in range(1, 9)]
    assert gate.batches == [[1], [100 * i for i in range(1, 9)]]


def test_batches_are_no_larger_than_allowed() -> None:
    """Jobs are taken whole while they fit; the next one waits for the next batch."""
    gate = Gate()
    batcher, metrics = make_batcher(gate, max_batch=4)
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(batcher.submit, [1], {})
        gate.wait_begun()
        futures = submit_in_order(pool, batcher, metrics, [2, 1, 2, 4, 1])
        gate.let(10)
        for future in (first, *futures):
            future.result(30)
    assert [len(batch) for batch in gate.batches] == [1, 3, 2, 4, 1]


def test_given_values_stay_with_their_rows() -> None:
    """Each row of a batch gets the values that its own request fixed."""
    seen: list[tuple[int, Given]] = []

    def run(seeds: Sequence[int], given: Sequence[Given]) -> Any:
        seen.extend(zip(seeds, given, strict=True))
        return echo(seeds, given)

    gate = Gate(run)
    batcher, metrics = make_batcher(gate)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(batcher.submit, [1], {})]
        gate.wait_begun()
        futures.append(pool.submit(batcher.submit, [2, 3], {"y": 4}))
        wait_for_depth(metrics, 2)
        futures.append(pool.submit(batcher.submit, [5], {}))
        wait_for_depth(metrics, 3)
        gate.let(2)
        assert [f.result(30).tolist() for f in futures] == [[1], [2, 3], [5]]
    assert seen == [(1, {}), (2, {"y": 4}), (3, {"y": 4}), (5, {})]


def test_a_failed_batch_fails_for_each_member_once_and_the_next_is_right() -> None:
    """An error in one run answers every member of that batch with it; the batch after is answered rightly."""

    def run(seeds: Sequence[int], given: Sequence[Given]) -> Any:
        if 100 in seeds:
            raise RuntimeError("the run failed")
        return echo(seeds, given)

    gate = Gate(run)
    batcher, metrics = make_batcher(gate, max_batch=3)
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(batcher.submit, [1], {})
        gate.wait_begun()
        futures = submit_in_order(pool, batcher, metrics, [1] * 6)
        gate.let(3)
        assert first.result(30).tolist() == [1]
        assert [str(f.exception(30)) for f in futures[:3]] == ["the run failed"] * 3
        assert [f.result(30).tolist() for f in futures[3:]] == [[400], [500], [600]]
    gate.let()
    assert batcher.submit([9], {}).tolist() == [9]


@pytest.mark.parametrize("excess", [1, 5])
def test_exactly_the_excess_is_refused(excess: int) -> None:
    """With one batch running and the queue full, exactly the requests beyond it are refused, and the rest is answered."""
    gate = Gate()
    batcher, metrics = make_batcher(gate, max_batch=4, queue_limit=6)
    with ThreadPoolExecutor(32) as pool:
        first = pool.submit(batcher.submit, [1], {})
        gate.wait_begun()
        futures = submit_in_order(pool, batcher, metrics, [1] * 6)
        refused = [pool.submit(batcher.submit, [50 + i], {}) for i in range(excess)]
        assert [type(f.exception(30)) for f in refused] == [QueueFull] * excess
        gate.let(10)
        assert [f.result(30).tolist() for f in (first, *futures)] == [[1], *([100 * i] for i in range(1, 7))]
    assert metrics.registry.get_sample_value("gan_queue_depth") == 0


def test_close_answers_what_was_accepted_and_refuses_the_rest() -> None:
    """Closing lets the running and the waiting finish, returns after them, and every later request is refused."""
    gate = Gate()
    batcher, metrics = make_batcher(gate, max_batch=2)
    with ThreadPoolExecutor(16) as pool:
        accepted = [pool.submit(batcher.submit, [1], {})]
        gate.wait_begun()
        accepted += submit_in_order(pool, batcher, metrics, [1] * 5)
        closing = pool.submit(batcher.close)
        while not batcher._is_closed:
            threading.Event().wait(0.001)
        with pytest.raises(Draining):
            batcher.submit([2], {})
        assert not closing.done()
        gate.let(10)
        closing.result(30)
        assert all(future.result(30) is not None for future in accepted)
    with pytest.raises(Draining):
        batcher.submit([3], {})


def test_closing_an_idle_batcher_returns() -> None:
    """Nothing waits, so nothing is waited for."""
    batcher, _ = make_batcher(echo)
    batcher.close()


def test_a_job_too_large_is_a_fault_of_the_caller() -> None:
    """A job must fit one batch."""
    batcher, _ = make_batcher(echo, max_batch=4)
    with pytest.raises(ValueError, match="1..4 seeds, got 5"):
        batcher.submit(range(5), {})


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=40),
    max_batch=st.integers(5, 16),
    bad=st.sets(st.integers(0, 39), max_size=4),
)
def test_everyone_gets_their_own_answer(sizes: list[int], max_batch: int, bad: set[int]) -> None:
    """Whatever the mix of sizes and failing runs, each request gets its own rows or its batch's error, and batches fit."""
    batches: list[int] = []

    def run(seeds: Sequence[int], given: Sequence[Given]) -> Any:
        batches.append(len(seeds))
        if any(seed // 100 in bad for seed in seeds):
            raise RuntimeError("the run failed")
        return echo(seeds, given)

    batcher, _ = make_batcher(run, max_batch=max_batch)

    def ask(place: int) -> Callable[[], Any] | list[int] | str:
        try:
            rows: list[int] = batcher.submit(range(100 * place, 100 * place + sizes[place]), {}).tolist()
        except RuntimeError as error:
            return str(error)
        return rows

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(len(sizes))))
    for place, (size, answer) in enumerate(zip(sizes, answers, strict=True)):
        right = list(range(100 * place, 100 * place + size))
        assert answer == "the run failed" if place in bad else answer in (right, "the run failed")
    assert max(batches) <= max_batch
    assert sum(batches) == sum(sizes)
