"""Measures of points against distributions whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from training.data import load
from training.metrics import points


def test_distances_of_a_shift_are_the_shift() -> None:
    """W1 on a line, and sliced W2 of a shift in the plane: its length over sqrt(2), the mean of cos^2."""
    line = torch.linspace(0, 1, 50)[:, None]
    assert points.w1(line + 2, line) == pytest.approx(2)
    assert points.sliced_w2(line + 2, line) == pytest.approx(2)
    plane = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    assert points.sliced_w2(plane + torch.tensor([3.0, 4.0]), plane) == pytest.approx(5 / math.sqrt(2), rel=1e-6)


def test_sliced_distance_of_two_widths_is_the_difference() -> None:
    """Of N(0, 1) and N(0, 3^2) in three dimensions it is about 2 in every direction."""
    normal = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    assert points.sliced_w2(3 * normal, normal) == pytest.approx(2, rel=0.05)


def test_sliced_distance_needs_equal_counts() -> None:
    """The error holds both counts."""
    with pytest.raises(ValueError, match="5, got 4"):
        points.sliced_w2(torch.zeros(4, 2), torch.zeros(5, 2))


def test_perfect_points_of_the_toys() -> None:
    """Fresh points of each toy: no distance from the curve, all bins, all modes, .989 of high quality, no divergence."""
    parabola = load("parabola", split="test", environ={}).items[:2500]
    assert points.curve_distance(parabola) < 1e-6
    assert points.x_coverage(parabola) == 20
    brought = points.PARABOLAS["parabola-norm"](load("parabola-norm", environ={}).items[:2500])
    assert points.curve_distance(brought) < 1e-6
    assert points.x_coverage(brought) == 20
    for name, count in (("ring8", 8), ("grid25", 25)):
        data = load(name, split="test", environ={})
        assert data.modes is not None
        assert data.mode_sd is not None
        sample = data.items[:2500]
        assert points.modes_hit(sample, data.modes, data.mode_sd) == count
        assert points.high_quality(sample, data.modes, data.mode_sd) == pytest.approx(1 - math.exp(-4.5), abs=0.01)
        assert 0 <= points.reverse_kl(sample, data.modes) < 3 * (count - 1) / (2 * 2500)


def test_the_curve_measures_tell_what_is_missing() -> None:
    """Points 250 above the curve are off by a tenth; the right half covers ten bins; what is outside counts for none."""
    x = torch.linspace(0.1, 49.9, 500)
    half = torch.stack([x, 10 + x * x + 250], 1)
    assert points.curve_distance(half) == pytest.approx(0.1)
    assert points.x_coverage(half) == 10
    assert points.x_coverage(torch.tensor([[-51.0, 0], [50.1, 0]])) == 0
    assert points.x_coverage(torch.tensor([[-50.0, 0], [50.0, 0]])) == 2


def test_a_single_mode_is_ln_m_away() -> None:
    """One of eight modes: one hit, all of high quality, reverse KL ln 8; just outside 3 sd: none hit."""
    modes = torch.eye(8)
    alone = modes[:1].repeat(10, 1)
    assert points.modes_hit(alone, modes, 0.01) == 1
    assert points.high_quality(alone, modes, 0.01) == 1
    assert points.reverse_kl(alone, modes) == pytest.approx(math.log(8))
    assert points.modes_hit(alone * 1.0301, modes, 0.01) == 0


def test_moments_have_their_errors() -> None:
    """Mean and deviation of -1 and 1."""
    values = torch.tensor([-1.0, 1.0]).repeat(50)
    sd = math.sqrt(100 / 99)
    assert points.mean(values) == pytest.approx((0, sd / 10))
    assert points.deviation(values) == pytest.approx((sd, sd / math.sqrt(200)))
