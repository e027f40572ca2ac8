"""Batcher: a failed batch fails for its own jobs, once, and the next one runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from contract import Overrides
from serving.errors import NonFinite
from tests.serving.client import on_a_loop
from tests.serving.engine.batching import HeldModel, echo, make_batcher, put


def failing_for_100(error: Exception) -> Callable[[Sequence[Any], Sequence[Overrides]], Any]:
    """``echo``, but for batches with seed 100, which raise an error."""

    def run(seeds: Sequence[Any], given: Sequence[Overrides]) -> Any:
        if 100 in seeds:
            raise error
        return echo(seeds, given)

    return run


@on_a_loop
async def test_a_failed_batch_fails_for_each_member_once_and_the_next_is_right() -> None:
    """O-09: an error in one run is delivered to every job of that batch; the next batch is not affected."""
    model = HeldModel(failing_for_100(RuntimeError("the run failed")))
    batcher, _ = make_batcher(model, max_batch=3)
    first = put(batcher, [1])
    await model.wait_started()
    waiting = [put(batcher, [100 * i]) for i in range(1, 7)]
    model.release(3)
    answers = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["[1]", *["the run failed"] * 3, "[400]", "[500]", "[600]"]
    model.release()
    assert await put(batcher, [9]) == [9]


@on_a_loop
async def test_nan_in_a_batch_fails_for_its_own_job() -> None:
    """F-14: a batch with NaN is run again in halves; the jobs without NaN get their rows."""
    model = HeldModel(failing_for_100(NonFinite()))
    batcher, _ = make_batcher(model, max_batch=9)
    first = put(batcher, [1])
    await model.wait_started()
    waiting = [put(batcher, seeds) for seeds in ([2], [3, 100], [4], [5], [6], [7], [8, 9])]
    model.release(8)
    answers = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["[1]", "[2]", str(NonFinite()), *("[4]", "[5]", "[6]", "[7]", "[8, 9]")]
    assert model.batches == [
        [1],
        [2, 3, 100, 4, 5, 6, 7, 8, 9],
        [2, 3, 100, 4],
        [2],
        [3, 100, 4],
        [3, 100],
        [4],
        [5, 6, 7, 8, 9],
    ]


@on_a_loop
async def test_a_run_that_raises_no_exception_of_its_kind_fails_alone() -> None:
    """F-06: SystemExit in a run is an error of its jobs; the batcher and the loop go on."""

    def run(seeds: Sequence[Any], given: Sequence[Overrides]) -> Any:
        if 100 in seeds:
            raise SystemExit(3)
        return echo(seeds, given)

    batcher, _ = make_batcher(run)
    with pytest.raises(RuntimeError, match=r"the run raised SystemExit\(3\)"):
        await put(batcher, [100])
    assert batcher.running_since is None
    assert await put(batcher, [9]) == [9]


@on_a_loop
async def test_a_thread_that_cannot_start_fails_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """F-06: where the system gives no thread, the jobs of that batch fail, and the next batch runs."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    batcher, _ = make_batcher(echo)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await put(batcher, [1])
    assert batcher.running_since is None
    assert await put(batcher, [9]) == [9]
