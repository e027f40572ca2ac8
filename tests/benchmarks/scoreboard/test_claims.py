"""Bars and verdicts against values worked out by hand."""

from __future__ import annotations

from math import nan

import pytest

from benchmarks.scoreboard.claims import Above, AtLeast, AtMost, Bar, Below, Between, Claim, NotBelow, Spread, chance, decide

OTHERS = {"twin": [4.0, 6.0, 8.0], "unrun": [], "diverged": [1.0, nan, nan]}
"""NaN is a seed that diverged."""


@pytest.mark.parametrize(
    ("bar", "values", "holds"),
    [
        (AtLeast(2), [1.0, 2.0, 9.0], True),
        (AtLeast(2.1), [1.0, 2.0, 9.0], False),
        (AtLeast(9, "best"), [1.0, 2.0, 9.0], True),
        (AtMost(1, "best"), [1.0, 2.0, 9.0], True),
        (AtMost(4, "mean"), [1.0, 2.0, 9.0], True),
        (AtMost(8, "worst"), [1.0, 2.0, 9.0], False),
        (Below("twin"), [5.9, 5.9, 100.0], True),
        (Below("twin", share=0.5), [3.1, 3.1, 3.1], False),
        (Below("twin", at_most=5), [5.1, 5.1, 5.1], False),
        (Below("twin", at_most=5), [5.0, 5.0, 5.1], True),
        (Between(0.9, 1.1), [0.1, 1.1, 9.0], True),
        (Between(0.9, 1.1), [0.1, 1.2, 9.0], False),
        (NotBelow("twin", 0.5), [5.5, 5.5, 5.5], True),
        (NotBelow("twin", 0.5), [5.4, 5.4, 9.0], False),
        (Below("twin", margin=0.25), [5.7, 5.7, 5.7], True),
        (Below("twin", margin=0.25), [5.8, 5.8, 5.8], False),
        (Above("twin"), [6.1, 6.1, 6.1], True),
        (Above("twin"), [5.9, 5.9, 5.9], False),
        (AtLeast(1), [1.0, nan, 2.0], True),
        (AtLeast(1), [1.0, nan, nan], False),
        (AtLeast(1, "mean"), [9.0, nan, 9.0], False),
        (AtMost(9), [1.0, nan, 2.0], True),
        (AtMost(9, "worst"), [1.0, nan, 2.0], False),
        (AtMost(1, "best"), [1.0, nan, nan], True),
        (Between(0.9, 1.1), [1.0, nan, 1.1], True),
        (Between(0.9, 1.1), [0.8, nan, 1.1], False),
        (Between(0.9, 1.1), [1.0, nan, 1.2], False),
        (NotBelow("twin", 0.5), [5.5, nan, nan], False),
        (Below("twin"), [1.0, nan, nan], False),
        (Below("diverged"), [9.0, 9.0, 9.0], True),
        (Above("twin"), [9.0, nan, 9.0], False),
        (Spread(1.0), [1.0, nan, 1.1], False),
    ],
    ids=str,
)
def test_a_bar_decides_by_its_statistic(bar: Bar, values: list[float], holds: bool) -> None:
    """Median, mean, best or worst of the seeds, against a number or another row."""
    claim = Claim(system="a system", text="a claim", bar=bar)
    assert decide(claim, len(values), values, OTHERS.__getitem__) == ("shown" if holds else "not shown")


@pytest.mark.parametrize(("figure", "verdict"), [(2.0, "inside the spread"), (6.9, "inside the spread"), (7.0, "not shown")])
def test_the_spread_is_a_prediction_interval(figure: float, verdict: str) -> None:
    """Of 1, 2, 3: 2 ± 4.303 x 1 x sqrt(4/3), which is 4.97."""
    assert decide(Claim(system="s", text="t", bar=Spread(figure)), 3, [1.0, 2.0, 3.0], OTHERS.__getitem__) == verdict


def test_one_value_has_no_spread() -> None:
    """Of one seed the figure is not shown, however near it is."""
    assert decide(Claim(system="s", text="t", bar=Spread(1.0)), 3, [1.0], OTHERS.__getitem__) == "not shown"


def test_without_all_seeds_there_is_no_verdict() -> None:
    """Neither of the row itself nor of the row that it is compared with."""
    assert decide(Claim(system="s", text="t", bar=AtMost(9)), 0, [1.0, 2.0], OTHERS.__getitem__) == "not run"
    assert decide(Claim(system="s", text="t", bar=Below("unrun")), 3, [1.0, 2.0, 3.0], OTHERS.__getitem__) == "not run"


def test_where_no_seed_has_a_value_nothing_is_shown() -> None:
    """All seeds were run, and the question arose in none."""
    assert decide(Claim(system="s", text="t", bar=AtMost(9)), 3, [], OTHERS.__getitem__) == "not shown"


def test_a_few_of_many_seeds_show_nothing() -> None:
    """Where most seeds have no value, those that have one decide from a quarter of the seeds on."""
    claim = Claim(system="s", text="t", bar=AtMost(9))
    assert decide(claim, 40, [1.0] * 9, OTHERS.__getitem__) == "not shown"
    assert decide(claim, 40, [1.0] * 10, OTHERS.__getitem__) == "shown"


@pytest.mark.parametrize(
    ("bar", "values", "p"),
    [
        (Below("twin"), [1.0, 2.0, 3.0], 1 / 20),
        (Above("twin"), [1.0, 2.0, 3.0], 1.0),
        (Above("twin"), [5.0, 7.0, 9.0], 7 / 20),
        (NotBelow("twin", 4), [1.0, 3.0, 5.0], 7 / 20),
        (Below("twin", share=0.5), [1.0, 1.5, 2.5], 2 / 20),
        (Below("twin"), [1.0, 2.0, nan], 7 / 20),
        (Above("twin"), [nan, 7.0, 9.0], 10 / 20),
        (Below("diverged"), [2.0, 3.0, 4.0], 7 / 20),
    ],
    ids=str,
)
def test_the_chance_of_a_comparison(bar: Bar, values: list[float], p: float) -> None:
    """Of the 20 orders of three and three seeds, those that speak for the claim as much: counted by hand."""
    assert chance(Claim(system="s", text="t", bar=bar), values, OTHERS.__getitem__) == pytest.approx(p)


def test_without_another_row_there_is_no_chance() -> None:
    """A number is no sample, and a row without values has no order."""
    assert chance(Claim(system="s", text="t", bar=AtMost(9)), [1.0], OTHERS.__getitem__) is None
    assert chance(Claim(system="s", text="t", bar=Below("unrun")), [1.0], OTHERS.__getitem__) is None
