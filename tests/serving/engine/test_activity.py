"""Activity: an inference has all cores exactly while no other worker runs one or has just run one."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.activity import MIN_REST_SECONDS, Activity
from serving.process.shared_memory import shared_numbers


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def workers(count: int) -> tuple[Clock, list[Activity]]:
    clock, numbers = Clock(), [0.0] * count
    return clock, [Activity(numbers, index, clock) for index in range(count)]


def test_a_worker_is_alone_until_another_one_runs() -> None:
    """The second of two inferences at the same time is not alone, and the first one after both is again."""
    clock, (one, other) = workers(2)
    one.begin()
    assert one.is_alone()
    other.begin()
    assert not other.is_alone()
    one.end(0.0)
    other.end(0.0)
    clock.now += MIN_REST_SECONDS
    one.begin()
    assert one.is_alone()


def test_two_inferences_of_one_worker_share_its_cores() -> None:
    """Of two models of one worker that run at the same time, the second does not have all cores."""
    _, (one,) = workers(1)
    one.begin()
    one.begin()
    assert not one.is_alone()


@pytest.mark.parametrize(("seconds", "rest"), [(0.0, MIN_REST_SECONDS), (0.05, 0.05)])
def test_a_worker_is_busy_for_a_while_after_an_inference(seconds: float, rest: float) -> None:
    """After an inference a worker encodes and sends: it counts as busy for as long as the inference took, or 2 ms."""
    clock, (one, other) = workers(2)
    other.begin()
    other.end(seconds)
    clock.now += rest / 2
    one.begin()
    assert not one.is_alone()
    one.end(0.0)
    clock.now += rest
    one.begin()
    assert one.is_alone()


def run_until_killed(numbers: object, index: int, has_begun: object) -> None:
    """A worker that runs an inference without end."""
    Activity(numbers, index).begin()  # type: ignore[arg-type]
    has_begun.set()  # type: ignore[attr-defined]
    signal.pause()


@pytest.mark.process
def test_a_killed_worker_is_busy_until_its_successor_starts() -> None:
    """A worker killed during an inference holds no lock; its successor, or the launcher, frees its cores for the others."""
    context = multiprocessing.get_context("spawn")
    numbers, has_begun = shared_numbers(2), context.Event()
    one = Activity(numbers, 0)
    worker = context.Process(target=run_until_killed, args=(numbers, 1, has_begun))
    worker.start()
    assert has_begun.wait(60)
    one.begin()
    assert not one.is_alone()
    one.end(0.0)
    assert worker.pid
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    Activity(numbers, 1)
    one.begin()
    assert one.is_alone()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["begin", "end", "restart", "wait"]))))
def test_who_is_alone_has_no_other_beside_it(steps: list[tuple[int, str]]) -> None:
    """For any order of inferences, pauses and restarts of workers: who begins alone begins while no other inference runs."""
    clock, numbers = Clock(), [0.0] * 4
    activities = [Activity(numbers, index, clock) for index in range(4)]
    running = [0] * 4
    for index, step in steps:
        match step:
            case "begin":
                activities[index].begin()
                assert not activities[index].is_alone() or not any(running)
                running[index] += 1
            case "end" if running[index]:
                activities[index].end(0.001)
                running[index] -= 1
            case "restart":
                activities[index], running[index] = Activity(numbers, index, clock), 0
            case "wait":
                clock.now += 1
    clock.now += 1
    activities[0].begin()
    assert activities[0].is_alone() == (not any(running))
