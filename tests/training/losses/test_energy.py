"""EBGAN's losses against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.deals import FAKE, REAL, sample_latents
from training.losses.energy import d_energy, g_energy, mean_squared_cosine, pulling_away
from training.nets.energy import AutoEncoder
from training.recipes.energy import KINDS, grid


def test_the_discriminator_lowers_reals_and_raises_fakes_up_to_the_margin() -> None:
    """Energies of reals are -1.5 and -4.5, of fakes 3 and -1.5: with margin 2 one fake is far enough, one short by 3.5."""
    assert d_energy(2.0)(sample_latents()).item() == pytest.approx(-sum(REAL) / 2 + (0 + 3.5) / 2)


def test_the_generator_lowers_the_energy_of_its_fakes() -> None:
    """Minus the mean logit."""
    assert g_energy(sample_latents(moving="G")).item() == pytest.approx(-sum(FAKE) / 2)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([[1.0, 0.0], [0.0, 2.0]], 0.0),
        ([[1.0, 1.0], [-3.0, -3.0]], 1.0),
        ([[1.0, 0.0], [1.0, 1.0]], 0.5),
        ([[1.0, 0.0], [0.0, 1.0], [5.0, 0.0]], 1 / 3),
    ],
)
def test_pulling_away_is_the_mean_squared_cosine_of_pairs(codes: list[list[float]], expected: float) -> None:
    """At right angles 0, in line 1 in either direction, at 45 degrees 1/2; of three, one pair of three in line 1/3."""
    assert mean_squared_cosine(torch.tensor(codes)).item() == pytest.approx(expected)


def test_pulling_away_looks_at_the_codes_of_fakes() -> None:
    """The fakes -2 and 1, each its own code, lie in line."""
    assert pulling_away(sample_latents(moving="G")).item() == pytest.approx(1.0)


def test_the_energy_is_the_distance_to_the_reconstruction() -> None:
    """A decoder that gives zero is off by the length of the sample; no energy tells reals from fakes."""
    decoder = nn.Linear(2, 2)
    nn.init.zeros_(decoder.weight)
    nn.init.zeros_(decoder.bias)
    output = AutoEncoder(nn.Sequential(nn.Identity()), decoder)(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    assert output.logit.tolist() == [-5.0, -1.0]
    assert output.features.tolist() == [[3.0, 4.0], [0.0, 1.0]]
    assert output.threshold is None


def test_the_grid_has_all_three_games_at_each_point() -> None:
    """Four points: twelve recipes of different names, and the same four for the same seed."""
    recipes = grid(4, seed=1)
    points = [[r.name.removeprefix(f"{kind}_g") for r in recipes if r.name.startswith(f"{kind}_g")] for kind in KINDS]
    assert len({r.name for r in recipes}) == 12
    assert points[0] == points[1] == points[2]
    assert [r.name for r in grid(4, seed=1)] == [r.name for r in recipes]
    assert [r.name for r in grid(4, seed=2)] != [r.name for r in recipes]


def test_a_grid_can_leave_out_wide_generators() -> None:
    """With 400 units at most, 128 points are left, none wider."""
    assert all("x400_d" in r.name for r in grid(128, largest=400))
    with pytest.raises(ValueError, match=r"count must be 1\.\.128, got 129"):
        grid(129, largest=400)


def test_a_grid_of_more_points_than_there_are_is_refused() -> None:
    """512 points, says the error."""
    with pytest.raises(ValueError, match=r"count must be 1\.\.512, got 513"):
        grid(513)
