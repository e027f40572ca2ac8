"""IdleCores: the session of more threads is taken when the cores are idle and it is the faster one."""

from __future__ import annotations

import pytest

from serving.engine.activity import Activity
from serving.engine.idle_cores import TRY_EVERY, IdleCores


def run(idle_cores: IdleCores, activity: Activity, rows: int, seconds: dict[bool, float]) -> bool:
    """One inference; whether it had more threads."""
    activity.begin()
    is_wide = idle_cores.are_used(rows)
    idle_cores.record(rows, is_wide, seconds[is_wide])
    activity.end(0.0)
    return is_wide


@pytest.mark.parametrize("wide", [0.5, 2.0])
def test_the_faster_session_is_taken(wide: float) -> None:
    """After one inference of each session the faster one runs all others of that size, but for a try now and then."""
    activity = Activity()
    idle_cores = IdleCores(activity)
    choices = [run(idle_cores, activity, 1, {True: wide, False: 1.0}) for _ in range(2 + 2 * TRY_EVERY)]
    assert choices[:2] == [True, False]
    assert choices[2:].count(wide > 1.0) == 2


def test_sizes_are_judged_apart() -> None:
    """A small batch may be faster with few threads, and a large one with many."""
    activity = Activity()
    idle_cores = IdleCores(activity)
    for _ in range(2):
        run(idle_cores, activity, 1, {True: 2.0, False: 1.0})
        run(idle_cores, activity, 64, {True: 1.0, False: 2.0})
    assert not run(idle_cores, activity, 1, {True: 2.0, False: 1.0})
    assert run(idle_cores, activity, 64, {True: 1.0, False: 2.0})


def test_a_try_finds_that_the_cores_have_become_free() -> None:
    """When other programs leave the cores, tries of the session of more threads show it, and it is taken from then on."""
    activity = Activity()
    idle_cores = IdleCores(activity)
    for _ in range(10):
        run(idle_cores, activity, 1, {True: 2.0, False: 1.0})
    for _ in range(20 * TRY_EVERY):
        run(idle_cores, activity, 1, {True: 0.5, False: 1.0})
    assert run(idle_cores, activity, 1, {True: 0.5, False: 1.0})


def test_shared_cores_have_few_threads_and_say_nothing() -> None:
    """An inference at the same time as another one has few threads, and its duration is not compared."""
    numbers = [0.0, 0.0]
    activity, other = Activity(numbers, 0), Activity(numbers, 1)
    idle_cores = IdleCores(activity)
    other.begin()
    assert [run(idle_cores, activity, 1, {True: 0.5, False: 0.1}) for _ in range(3)] == [False] * 3
    Activity(numbers, 1)
    assert [run(idle_cores, activity, 1, {True: 0.5, False: 1.0}) for _ in range(3)] == [True, False, True]
