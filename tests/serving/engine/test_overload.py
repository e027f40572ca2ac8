"""Offered loads above the capacity: batches stay full, and refusals cost none of them. Counts, not times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from serving.engine.batcher import Batcher
from serving.errors import QueueFull
from serving.observability.timings import Timings
from tests.serving.client import on_a_loop
from tests.serving.engine.batching import HeldModel, depth, make_batcher, put

MAX_BATCH, QUEUE_LIMIT, BATCHES = 4, 8, 20


async def sample(batcher: Batcher, seeds: Sequence[int]) -> Any:
    """The rows of a request of any size."""
    return await batcher.sample(seeds, {}, Timings())


@on_a_loop
async def offer(times: int, retries: int) -> None:
    """During each of twenty batches offer ``times`` a batch of requests, those refused again up to ``retries`` times."""
    model = HeldModel()
    batcher, metrics = make_batcher(model, max_batch=MAX_BATCH, queue_limit=QUEUE_LIMIT)
    accepted: list[asyncio.Future[list[int]]] = [put(batcher, [0])]
    refused = offered = 0
    for _ in range(BATCHES):
        await model.wait_started()
        for _ in range(times * MAX_BATCH):
            offered += 1
            for _ in range(1 + retries):
                try:
                    accepted.append(put(batcher, [offered]))
                    break
                except QueueFull:
                    refused += 1
        assert (depth(metrics) or 0) <= QUEUE_LIMIT
        model.release()
    model.release(BATCHES)
    await asyncio.gather(*accepted)
    assert depth(metrics) == 0
    assert {len(batch) for batch in model.batches[1:]} == {MAX_BATCH}
    assert len(accepted) >= 1 + MAX_BATCH * BATCHES  # one batch of answers for each batch of time, and the queue
    assert len(accepted) + refused // (1 + retries) == 1 + offered


@pytest.mark.parametrize("times", [2, 10])
def test_under_overload_every_batch_is_full(times: int) -> None:
    """O-01: at twice and ten times the capacity each batch that runs is full, which is all that can be answered."""
    offer(times, retries=0)


def test_retries_of_the_refused_cost_no_batch() -> None:
    """O-15: refused clients that ask again at once, three times, change neither the size nor the number of batches."""
    offer(10, retries=3)


@on_a_loop
async def test_a_small_request_comes_between_the_batches_of_large_ones() -> None:
    """O-16: among requests of ten batches each, one of a single row is in the batch after the running one or the next."""
    model = HeldModel()
    batcher, _ = make_batcher(model, max_batch=MAX_BATCH, queue_limit=1000)
    large = [asyncio.create_task(sample(batcher, range(100 * i, 100 * i + 40))) for i in (1, 2, 3)]
    await model.wait_started()
    small = put(batcher, [7])
    model.release(100)
    await small
    place = next(i for i, batch in enumerate(model.batches) if 7 in batch)
    assert place <= len(large)
    assert [len(await task) for task in large] == [40, 40, 40]


@on_a_loop
async def test_large_requests_take_no_place_from_small_ones() -> None:
    """O-16: while three requests of ten batches wait for each other, small ones are accepted, and none is refused half way."""
    model = HeldModel()
    batcher, metrics = make_batcher(model, max_batch=MAX_BATCH, queue_limit=QUEUE_LIMIT)
    large = [asyncio.create_task(sample(batcher, range(100 * i, 100 * i + 40))) for i in (1, 2, 3)]
    small = []
    for turn in range(BATCHES):
        await model.wait_started()
        small += [put(batcher, [turn]) for _ in range(2)]
        model.release()
    model.release(100)
    assert [(await rows)[0] for rows in small] == [turn for turn in range(BATCHES) for _ in range(2)]
    assert [(await task).tolist() for task in large] == [list(range(100 * i, 100 * i + 40)) for i in (1, 2, 3)]
    assert depth(metrics) == 0


@on_a_loop
async def test_small_requests_do_not_keep_a_large_one_waiting() -> None:
    """O-16: with the queue kept full of small requests, every second batch is one of the large request."""
    model = HeldModel()
    batcher, _ = make_batcher(model, max_batch=MAX_BATCH, queue_limit=QUEUE_LIMIT)
    large = asyncio.create_task(sample(batcher, range(100, 140)))
    small = []
    for _ in range(BATCHES):
        await model.wait_started()
        while True:
            try:
                small.append(put(batcher, [1]))
            except QueueFull:
                break
        model.release()
    model.release(100)
    assert len(await large) == 40
    await asyncio.gather(*small)
    assert [batch[0] >= 100 for batch in model.batches[:BATCHES]] == [True, False] * 10


@on_a_loop
async def test_large_requests_beyond_the_limit_are_refused() -> None:
    """O-02: of large requests, one batch each counts; those beyond the limit are refused before their first batch."""
    model = HeldModel()
    batcher, metrics = make_batcher(model, max_batch=MAX_BATCH, queue_limit=QUEUE_LIMIT)
    large = [asyncio.create_task(sample(batcher, range(8)))]
    await model.wait_started()
    large += [asyncio.create_task(sample(batcher, range(8))) for _ in range(3)]
    await asyncio.sleep(0)
    model.release(100)
    ends = await asyncio.gather(*large, return_exceptions=True)
    assert [type(end).__name__ for end in ends] == ["ndarray"] * 3 + ["QueueFull"]
    assert depth(metrics) == 0
