"""What the plots show: each point at its place, nothing outside the axes, and round values next to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.encoding.plots import label, plot_points, ticks


def test_a_point_is_drawn_at_its_place() -> None:
    """Of a scatter over -1..1, a point at (.5, -.5) colours the lower right quarter only, and one outside colours nothing."""

    def ink(*point: float) -> Any:
        blank = plot_points(np.full((1, 2), 9, np.float32), (-1, -1), (1, 1), 200)
        return (plot_points(np.array([point], np.float32), (-1, -1), (1, 1), 200) != blank).any(2)

    drawn = ink(0.5, -0.5)
    assert drawn[95:, 108:].sum() == drawn.sum() > 0
    assert not ink(1.5, 0).any()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 3), (-2, 8), (0, 1e-6), (1e5, 1.1e5), (0, 1e29), (-0.37, 0.11)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    """Two to eleven ticks, evenly apart, inside the range."""
    values = ticks(low, high)
    slack = (high - low) * 1e-6
    assert 2 <= len(values) <= 11
    assert low - slack <= values[0] < values[-1] <= high + slack


def test_a_point_on_the_border_is_drawn() -> None:
    """The region shown has its ends: a point at its highest corner is drawn as one at its lowest."""
    blank = plot_points(np.full((1, 2), 9, np.float32), (-1, -1), (1, 1), 200)
    for corner in (-1, 1):
        assert (plot_points(np.full((1, 2), corner, np.float32), (-1, -1), (1, 1), 200) != blank).any()


@pytest.mark.parametrize("k", [1, 2, 9])
def test_a_plot_of_nothing_inside_has_axes_only(k: int) -> None:
    """Points outside the region draw no mark of one or two components, and a curve of more at the border, inside the axes."""
    side, edge = 400, 2
    drawn = plot_points(np.full((1, k), 9, np.float32), [0] * k, [1] * k, side)
    empty = plot_points(np.array([[9, *[-9] * (k - 1)]], np.float32), [0] * k, [1] * k, side)
    if k < 3:
        assert np.array_equal(drawn, empty)
    else:
        changed = (drawn != empty).any(2)
        assert changed.any()
        changed[14 - edge : 366 + edge, 46 - edge : 386 + edge] = False
        assert not changed.any()


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 1, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (-3, 3, ["-2", "0", "2"]),
        (-0.4, 0.1, ["-0.4", "-0.3", "-0.2", "-0.1", "0", "0.1"]),
        (100_000, 100_005, ["100000", "100001", "100002", "100003", "100004", "100005"]),
    ],
)
def test_ticks_have_the_ends_and_differ(low: float, high: float, texts: list[str]) -> None:
    """A range whose ends are round has a tick at each, and no two ticks have the same text."""
    assert [label(value) for value in ticks(low, high)] == texts
