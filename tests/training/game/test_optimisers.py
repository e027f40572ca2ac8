"""How players move."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.conftest import tiny_config, tiny_context
from training.game.loop import play
from training.game.optimisers import (
    GeometricDecay,
    LinearDecay,
    StaircaseDecay,
    adam,
    align_moments,
    rmsprop_tf,
    with_strides_of,
)
from training.recipes import CATALOGUE
from training.run.job import set_up


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
        name: [player.hyperparameters is not None for player in CATALOGUE[name].players]
        for name in ("dcgan", "dcgan32", "dcgan64")
    }
    assert falling == {"dcgan": [True, True], "dcgan32": [True, True], "dcgan64": [False, False]}


@pytest.mark.parametrize(
    ("step", "rate", "momentum"),
    [
        (0, 0.1, 0.5),
        (1, 0.1 / 1.00004, 0.50002),
        (5_000, 0.1 * 1.00004**-5_000, 0.6),
        (10_000, 0.1 * 1.00004**-10_000, 0.7),
        (400_000, 1e-6, 0.7),
    ],
)
def test_a_rate_is_divided_each_step_while_momentum_rises(step: int, rate: float, momentum: float) -> None:
    """Down to its least value; the momentum in a straight line, and then no further."""
    assert GeometricDecay(0.1, 1.00004, 1e-6, (0.5, 0.7), 10_000)(step, 20_000) == pytest.approx(
        {"lr": rate, "momentum": momentum}
    )


def test_the_first_conditional_gan_moves_by_its_schedule(tmp_path: Path) -> None:
    """After a step, rate and momentum of both players' optimisers are the schedule's of that step."""
    game, _ = set_up(tiny_config("cgan", tmp_path, steps=3), tiny_context(tmp_path))
    list(play(game, 3))
    for optimiser in game.optimisers.values():
        (group,) = optimiser.param_groups
        assert (group["lr"], group["momentum"]) == pytest.approx((0.1 / 1.00004**2, 0.5 + 0.2 * 2 / 150_000))


@pytest.mark.parametrize(("step", "rate"), [(0, 8.0), (9, 8.0), (10, 4.0), (25, 2.0)])
def test_a_rate_falls_by_stairs(step: int, rate: float) -> None:
    """Halved when ten steps are over, and again after the next ten."""
    assert StaircaseDecay(8.0, 0.5, 10)(step, 100) == {"lr": rate}


def test_rmsprop_of_tensorflow_follows_its_formula() -> None:
    """Of two updates: the mean square begins at 1 and decays, and epsilon is inside the root."""
    weight, square, expected = nn.Parameter(torch.tensor([1.0, -2.0])), torch.ones(2), torch.tensor([1.0, -2.0])
    optimiser = rmsprop_tf(0.1, decay=0.8, epsilon=0.5).make([weight])
    for gradient in (torch.tensor([3.0, -0.25]), torch.tensor([-1.0, 4.0])):
        weight.grad = gradient
        optimiser.step()
        square = 0.8 * square + 0.2 * gradient**2
        expected = expected - 0.1 * gradient / (square + 0.5).sqrt()
        torch.testing.assert_close(weight.detach(), expected)


def test_loaded_moments_get_the_strides_of_their_parameter() -> None:
    """Their numbers stay, and what is not of the parameter's shape stays as it is."""
    weight = nn.Parameter(torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last))
    optimiser = adam(1e-3).make([weight])
    weight.grad = torch.rand_like(weight)
    optimiser.step()
    state = optimiser.state[weight]
    moment, updates = state["exp_avg"].clone(), state["step"]
    state["exp_avg"] = moment.contiguous()
    align_moments(optimiser)
    assert state["exp_avg"].stride() == weight.stride() != moment.contiguous().stride()
    assert torch.equal(state["exp_avg"], moment)
    assert state["step"] is updates
    assert with_strides_of(weight, moment) is moment
