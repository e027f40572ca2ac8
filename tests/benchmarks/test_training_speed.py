"""The comparison with the usual training loop: what it prints, and that both sides train the same nets."""

from __future__ import annotations

import pytest
import torch

from benchmarks.training import speed
from benchmarks.training.usual import usual_loop
from training.recipes import CATALOGUE


@pytest.mark.slow
def test_the_table_has_a_line_for_each_recipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of a hundredth of a second a side prints the recipe's line, the geometric mean and the machine's rates."""
    monkeypatch.setattr("sys.argv", ["speed", "toy1d", "--seconds", "0.01", "--repeats", "1"])
    speed.main()
    printed = capsys.readouterr().out
    assert "toy1d" in printed
    assert "geometric mean of the ratios: float32" in printed
    assert "bfloat16: products" in printed


@pytest.mark.parametrize("name", ["toy1d", "parabola"])
def test_the_usual_loop_trains(name: str) -> None:
    """Each step of the usual loop gives a finite loss of G."""
    recipe = CATALOGUE[name]
    loop = usual_loop(recipe, speed.data_of(recipe))
    assert all(torch.isfinite(torch.tensor(next(loop))) for _ in range(2))


def test_the_limit_is_the_sum_of_both_kinds_of_work() -> None:
    """Products at 10/s and convolutions at 5/s: 20 and 5 operations take two seconds and one."""
    assert speed.limit((20.0, 5.0), (10.0, 5.0)) == pytest.approx(1 / 3)
