"""How players move."""

from __future__ import annotations

import pytest

from training.optimisers import LinearDecay
from training.recipes import CATALOGUE


@pytest.mark.parametrize(("step", "rate"), [(0, 2e-4), (5_000, 2e-4), (7_500, 1e-4), (9_999, 4e-8), (10_000, 0.0)])
def test_a_rate_is_held_and_then_falls_to_zero(step: int, rate: float) -> None:
    """Half the steps at the full rate, then in a straight line to zero."""
    assert LinearDecay(2e-4)(step, 10_000)["lr"] == pytest.approx(rate)


def test_a_rate_never_leaves_its_range() -> None:
    """Played on beyond its last step, a game keeps a rate of zero and never a negative one."""
    assert LinearDecay(2e-4)(12_000, 10_000) == {"lr": 0.0}


def test_dcgan_on_mnist_lets_its_rate_fall() -> None:
    """Both players of the MNIST sizes, as in the authors' MNIST code; on 64x64 they keep it, as in their code for faces."""
    falling = {
        name: [player.tune is not None for player in CATALOGUE[name].players] for name in ("dcgan", "dcgan32", "dcgan64")
    }
    assert falling == {"dcgan": [True, True], "dcgan32": [True, True], "dcgan64": [False, False]}
