"""A coroutine without a task: when it goes on, and how it is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

from serving.engine.backend import Rows
from serving.generation.eager_run import EagerRun
from tests.serving.client import on_a_loop


class Steps:
    """A coroutine that writes down what it has done: before and after it awaits something."""

    def __init__(self) -> None:
        self.done: list[object] = []

    async def wait_for(self, *awaited: Any) -> None:
        self.done.append("begun")
        try:
            for each in awaited:
                self.done.append(await each)
        except BaseException as error:
            self.done.append(type(error))
            raise


@on_a_loop
async def test_a_run_begins_at_once_and_goes_on_when_its_rows_are_there() -> None:
    """The event loop makes no turn in between."""
    steps, rows = Steps(), Rows()
    EagerRun(steps.wait_for(rows))
    assert steps.done == ["begun"]
    rows.set_result("rows")  # type: ignore[arg-type]
    assert rows.resume
    rows.resume()
    assert steps.done == ["begun", "rows"]


@on_a_loop
async def test_a_run_awaits_what_a_task_awaits() -> None:
    """A sleep, a turn of the loop, another coroutine, a thread."""
    steps = Steps()
    EagerRun(steps.wait_for(asyncio.sleep(0.001, "slept"), asyncio.sleep(0, "turn"), asyncio.to_thread(lambda: "thread")))
    while len(steps.done) < 4:
        await asyncio.sleep(0.001)
    assert steps.done == ["begun", "slept", "turn", "thread"]


@on_a_loop
async def test_a_run_is_cancelled_where_it_waits() -> None:
    """At rows at once, at another future in the next turn; what it waited for is cancelled, too, and it goes no further."""
    at_rows, at_future = Steps(), Steps()
    rows, future = Rows(), asyncio.get_running_loop().create_future()
    runs = [EagerRun(at_rows.wait_for(rows, future)), EagerRun(at_future.wait_for(future, rows))]
    for run in runs:
        run.cancel()
    assert (at_rows.done, rows.cancelled(), rows.resume) == (["begun", asyncio.CancelledError], True, None)
    await asyncio.sleep(0)
    assert (at_future.done, future.cancelled()) == (["begun", asyncio.CancelledError], True)


@on_a_loop
async def test_a_run_that_is_cancelled_after_its_wait_has_ended_goes_no_further() -> None:
    """The future is done, and the loop has not yet said so."""
    steps, future = Steps(), asyncio.get_running_loop().create_future()
    run = EagerRun(steps.wait_for(future, asyncio.get_running_loop().create_future()))
    future.set_result("done")
    run.cancel()
    await asyncio.sleep(0)
    assert steps.done == ["begun", asyncio.CancelledError]
