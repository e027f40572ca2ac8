"""Batcher: each accepted job is delivered exactly once, with its own rows or an error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import Overrides
from serving.engine.backend import Job
from serving.errors import QueueFull
from serving.observability.timings import Timings
from tests.serving.client import on_a_loop
from tests.serving.engine.batching import HeldModel, depth, echo, make_batcher, put


@on_a_loop
async def test_jobs_of_one_turn_are_one_batch() -> None:
    """Jobs submitted in one turn of the loop are run together, and a single one alone."""
    batches: list[list[int]] = []

    def run(seeds: Sequence[Any], given: Sequence[Overrides]) -> Any:
        batches.append(list(seeds))
        return echo(seeds, given)

    batcher, _ = make_batcher(run)
    assert list(await asyncio.gather(put(batcher, [1]), put(batcher, [2, 3]))) == [[1], [2, 3]]
    assert await put(batcher, [4]) == [4]
    assert batches == [[1, 2, 3], [4]]


@on_a_loop
async def test_a_quick_batch_runs_on_the_loop_and_any_other_in_a_thread() -> None:
    """The first batch of a size is timed in the thread; if it was quick, later ones run on the loop."""
    threads = []

    def run(seeds: Sequence[Any], given: Sequence[Overrides]) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return echo(seeds, given)

    quick, _ = make_batcher(run, quick_seconds=30)
    for _ in range(3):
        await put(quick, [1])
    slow, _ = make_batcher(run, quick_seconds=0)
    for _ in range(2):
        await put(slow, [1])
    assert threads == [False, True, True, False, False]


@on_a_loop
async def test_waiting_jobs_are_run_together_in_order() -> None:
    """Eight jobs that wait while one runs form one batch of eight in order of submission."""
    model = HeldModel()
    batcher, _ = make_batcher(model)
    first = put(batcher, [1])
    await model.wait_started()
    waiting = [put(batcher, [100 * i]) for i in range(1, 9)]
    model.release(2)
    assert await first == [1]
    assert await asyncio.gather(*waiting) == [[100 * i] for i in range(1, 9)]
    assert model.batches == [[1], [100 * i for i in range(1, 9)]]


@on_a_loop
async def test_the_depth_is_that_of_all_queues_together() -> None:
    """With two models, a change of one queue leaves what waits in the other in the metric."""
    models = HeldModel(), HeldModel()
    first, metrics = make_batcher(models[0])
    second, _ = make_batcher(models[1], metrics=metrics)
    running = [put(first, [1]), put(second, [1])]
    for model in models:
        await model.wait_started()
    waiting = [put(first, [2, 3, 4]), put(second, [5])]
    assert depth(metrics) == 4
    models[1].release(2)
    await asyncio.gather(running[1], waiting[1])
    assert depth(metrics) == 3
    models[0].release(2)
    await asyncio.gather(running[0], waiting[0])
    assert depth(metrics) == 0


@on_a_loop
async def test_batches_are_no_larger_than_allowed() -> None:
    """Jobs are not split: one that does not fit waits for the next batch."""
    model = HeldModel()
    batcher, _ = make_batcher(model, max_batch=4)
    first = put(batcher, [1])
    await model.wait_started()
    waiting = [put(batcher, range(100, 100 + size)) for size in (2, 1, 2, 4, 1)]
    model.release(10)
    await asyncio.gather(first, *waiting)
    assert [len(batch) for batch in model.batches] == [1, 3, 2, 4, 1]


@on_a_loop
async def test_overrides_stay_with_their_rows() -> None:
    """Each row of a batch gets the overrides of its own job."""
    seen: list[tuple[int, Overrides]] = []

    def run(seeds: Sequence[Any], given: Sequence[Overrides]) -> Any:
        seen.extend(zip(seeds, given, strict=True))
        return echo(seeds, given)

    batcher, _ = make_batcher(run)
    answers = await asyncio.gather(put(batcher, [1]), put(batcher, [2, 3], {"y": 4}), put(batcher, [5]))
    assert list(answers) == [[1], [2, 3], [5]]
    assert seen == [(1, {}), (2, {"y": 4}), (3, {"y": 4}), (5, {})]


@pytest.mark.parametrize("excess", [1, 5])
@on_a_loop
async def test_exactly_the_excess_is_refused(excess: int) -> None:
    """O-02, O-03: with one batch running and the queue full, exactly the jobs beyond it are refused, at once."""
    model = HeldModel()
    batcher, metrics = make_batcher(model, max_batch=4, queue_limit=6)
    first = put(batcher, [1])
    await model.wait_started()
    waiting = [put(batcher, [100 * i]) for i in range(1, 7)]
    for i in range(excess):
        with pytest.raises(QueueFull):
            put(batcher, [50 + i])
    assert depth(metrics) == 6
    model.release(10)
    assert await asyncio.gather(first, *waiting) == [[1], *([100 * i] for i in range(1, 7))]
    assert depth(metrics) == 0


@on_a_loop
async def test_a_withdrawn_job_is_never_run_and_makes_room() -> None:
    """O-07: a waiting job that is withdrawn leaves the queue; a running one is still delivered."""
    model = HeldModel()
    batcher, metrics = make_batcher(model, queue_limit=2)
    running, waiting = (Job([seed], {}, Timings()) for seed in (1, 2))
    batcher.submit(running)
    await model.wait_started()
    batcher.submit(waiting)
    batcher.withdraw(waiting)
    batcher.withdraw(waiting)
    batcher.withdraw(running)
    assert depth(metrics) == 0
    last = [put(batcher, [3]), put(batcher, [4])]
    model.release(2)
    assert await asyncio.gather(*last) == [[3], [4]]
    assert (await running.rows).tolist() == [1]
    assert not waiting.rows.done()
    assert model.batches == [[1], [3, 4]]


@on_a_loop
async def test_more_rows_than_a_batch_leave_room_for_others() -> None:
    """Ten rows of one request are three batches with another request's row in between, and come back in order."""
    model = HeldModel()
    batcher, _ = make_batcher(model, max_batch=4)
    timings = Timings()
    many = asyncio.create_task(batcher.sample(range(100, 110), {}, timings))
    await model.wait_started()
    other = put(batcher, [1])
    model.release(4)
    assert (await many).tolist() == list(range(100, 110))
    assert await other == [1]
    assert model.batches == [[100, 101, 102, 103], [1], [104, 105, 106, 107], [108, 109]]
    assert [run.batch.rows for run in timings.runs] == [4, 4, 2]


@on_a_loop
async def test_the_end_of_a_large_request_shares_its_batch() -> None:
    """Once a batch of other rows has overtaken it, its last rows are next, and others fill up their batch and no more."""
    model = HeldModel()
    batcher, _ = make_batcher(model, max_batch=4)
    many = asyncio.create_task(batcher.sample(range(100, 106), {}, Timings()))
    await model.wait_started()
    others = [put(batcher, rows) for rows in ([1, 2, 3, 4], [5, 6], [7])]
    model.release(4)
    await asyncio.gather(many, *others)
    assert model.batches == [[100, 101, 102, 103], [1, 2, 3, 4], [104, 105, 5, 6], [7]]


@on_a_loop
async def test_cancelling_withdraws_what_waits() -> None:
    """O-07: a cancelled request's rows leave the queue; those that run already are dropped when the batch ends."""
    model = HeldModel()
    batcher, metrics = make_batcher(model)
    running = asyncio.create_task(batcher.sample([1], {}, Timings()))
    await model.wait_started()
    waiting = asyncio.create_task(batcher.sample([2], {}, Timings()))
    await asyncio.sleep(0)
    assert depth(metrics) == 1
    for task in (running, waiting):
        task.cancel()
    ends = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 2
    assert depth(metrics) == 0
    last = put(batcher, [3])
    model.release(2)
    assert await last == [3]
    assert model.batches == [[1], [3]]


@on_a_loop
async def test_a_job_larger_than_a_batch_is_a_value_error() -> None:
    """A job must fit into one batch."""
    batcher, _ = make_batcher(echo, max_batch=4)
    with pytest.raises(ValueError, match="1..4 sources, got 5"):
        put(batcher, range(5))


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=40),
    turns=st.lists(st.booleans(), min_size=40, max_size=40),
    withdrawn=st.sets(st.integers(0, 39), max_size=8),
    bad=st.sets(st.integers(0, 39), max_size=4),
    max_batch=st.integers(5, 16),
    quick_seconds=st.sampled_from([0.0, 30.0]),
)
def test_each_job_gets_its_own_rows(
    sizes: list[int], turns: list[bool], withdrawn: set[int], bad: set[int], max_batch: int, quick_seconds: float
) -> None:
    """For any mix of sizes, pauses, failing runs and withdrawals, each job is delivered once with its own rows or its batch's
    error, or was withdrawn in time; no batch is too large.
    """
    batches: list[int] = []

    def run(seeds: Sequence[Any], given: Sequence[Overrides]) -> Any:
        batches.append(len(seeds))
        if any(seed // 100 in bad for seed in seeds):
            raise RuntimeError("the run failed")
        return echo(seeds, given)

    @on_a_loop
    async def submit_all() -> None:
        batcher, metrics = make_batcher(run, max_batch=max_batch, quick_seconds=quick_seconds)
        jobs = []
        for index, size in enumerate(sizes):
            job = Job(range(100 * index, 100 * index + size), {}, Timings())
            jobs.append(job)
            batcher.submit(job)
            if index in withdrawn:
                batcher.withdraw(job)
            if turns[index]:
                await asyncio.sleep(0)
        await asyncio.gather(*(job.rows for index, job in enumerate(jobs) if index not in withdrawn), return_exceptions=True)
        for index, job in enumerate(jobs):
            assert (job.rows.done(), len(job.timings.runs)) == ((False, 0) if index in withdrawn else (True, 1))
            if index in withdrawn:
                continue
            error = job.rows.exception()
            if index in bad or error:
                assert str(error) == "the run failed"
            else:
                assert job.rows.result().tolist() == list(job.sources)
        assert depth(metrics) == 0

    submit_all()
    assert max(batches, default=0) <= max_batch
    assert sum(batches) == sum(size for index, size in enumerate(sizes) if index not in withdrawn)
