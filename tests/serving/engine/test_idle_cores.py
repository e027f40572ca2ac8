"""IdleCores: the session of more threads is taken when the cores are idle and it is the faster one."""

from __future__ import annotations

import pytest

from serving.engine.activity import Activity
from serving.engine.idle_cores import COLD, PERIOD, TRIAL, IdleCores


def run(idle_cores: IdleCores, activity: Activity, rows: int, seconds: dict[bool, float]) -> bool:
    """One inference; whether it had more threads."""
    activity.begin()
    is_wide = idle_cores.are_used(rows)
    idle_cores.record(rows, is_wide, seconds[is_wide])
    activity.end(0.0)
    return is_wide


@pytest.mark.parametrize("wide", [0.5, 2.0])
def test_the_faster_session_is_taken(wide: float) -> None:
    """After a trial of each session the faster one runs all others of the period."""
    activity = Activity()
    idle_cores = IdleCores(activity)
    choices = [run(idle_cores, activity, 1, {True: wide, False: 1.0}) for _ in range(PERIOD + 1)]
    assert choices[: 2 * TRIAL] == [True] * TRIAL + [False] * TRIAL
    assert choices[2 * TRIAL : PERIOD] == [wide < 1.0] * (PERIOD - 2 * TRIAL)
    assert choices[PERIOD]


def test_the_first_inferences_after_a_change_do_not_count() -> None:
    """A session whose weights are not in the caches is slow, and only the inferences after that count."""
    activity = Activity()
    idle_cores = IdleCores(activity)
    for _ in range(COLD):
        run(idle_cores, activity, 1, {True: 900.0, False: 1.0})
    choices = [run(idle_cores, activity, 1, {True: 0.5, False: 1.0}) for _ in range(3 * TRIAL)]
    assert all(choices[-TRIAL:])


def test_sizes_are_compared_apart() -> None:
    """A small batch may be faster with few threads, and a large one with many."""
    activity = Activity()
    idle_cores = IdleCores(activity)
    for rows, seconds in ((1, {True: 2.0, False: 1.0}), (64, {True: 1.0, False: 2.0})):
        for _ in range(2 * TRIAL):
            run(idle_cores, activity, rows, seconds)
    assert not run(idle_cores, activity, 1, {True: 2.0, False: 1.0})
    assert run(idle_cores, activity, 64, {True: 1.0, False: 2.0})


def test_a_trial_finds_that_the_cores_have_become_free() -> None:
    """When other programs leave the cores, the next trials show it, and the session of more threads is taken from then on."""
    activity = Activity()
    idle_cores = IdleCores(activity)
    for _ in range(2 * TRIAL):
        run(idle_cores, activity, 1, {True: 2.0, False: 1.0})
    choices = [run(idle_cores, activity, 1, {True: 0.5, False: 1.0}) for _ in range(PERIOD)]
    assert not any(choices[: PERIOD - 2 * TRIAL])
    assert all(run(idle_cores, activity, 1, {True: 0.5, False: 1.0}) for _ in range(PERIOD - 3 * TRIAL))


def test_shared_cores_have_few_threads_and_say_nothing() -> None:
    """An inference at the same time as another one has few threads, and its duration is not compared."""
    numbers = [0.0, 0.0]
    activity, other = Activity(numbers, 0), Activity(numbers, 1)
    idle_cores = IdleCores(activity)
    other.begin()
    assert [run(idle_cores, activity, 1, {True: 0.5, False: 0.1}) for _ in range(2 * TRIAL)] == [False] * 2 * TRIAL
    Activity(numbers, 1)
    choices = [run(idle_cores, activity, 1, {True: 0.5, False: 1.0}) for _ in range(3 * TRIAL)]
    assert choices == [True] * TRIAL + [False] * TRIAL + [True] * TRIAL
