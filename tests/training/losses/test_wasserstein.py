"""WGAN's losses, penalty, clipping and schedule against numbers worked out by hand."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from tests.training.deals import sample_latents
from training.game.optimisers import Clip
from training.game.schedules import critic_first
from training.game.step import Batch, DiscriminatorOutput, StepContext
from training.losses.wasserstein import d_wasserstein, g_wasserstein
from training.penalties import gradient_penalty
from training.recipes import CATALOGUE


class Parabola(nn.Module):
    """A critic whose score is x^2 / 2, so that its gradient at x is x; it keeps what it was asked."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.seen = torch.empty(0)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        self.seen = x.detach()
        return DiscriminatorOutput(self.weight * x.square().sum(1) / 2, x)


def between(real: list[float], fake: list[float], weight: float = 1.0) -> StepContext:
    z = torch.tensor(fake)[:, None]
    nets = {"G": _Given(z), "D": Parabola(weight)}
    return StepContext(nets, Batch(torch.tensor(real)[:, None]), {"z": z}, step=0, moving=frozenset("D"))


class _Given(nn.Module):
    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x

    def forward(self, z: Tensor) -> Tensor:
        return self.x


def test_the_critic_loss_is_the_difference_of_the_means() -> None:
    """Scores 1.5 and 4.5 of reals, -3 and 1.5 of fakes: -.75 - 3."""
    assert d_wasserstein(sample_latents()).item() == pytest.approx(-3.75)


def test_the_generator_loss_is_the_mean_of_its_scores_turned_round() -> None:
    """Scores -3 and 1.5: .75."""
    assert g_wasserstein(sample_latents(moving="G")).item() == pytest.approx(0.75)


def test_the_gradient_penalty_of_a_line_is_its_slope_less_one_squared() -> None:
    """The slope of 1.5 x is 1.5 anywhere: 10 * .5^2, and by the weight 10 * 2 * .5."""
    ctx = sample_latents()
    value = gradient_penalty(10)(ctx)
    assert value.item() == pytest.approx(2.5)
    assert torch.autograd.grad(value, list(ctx.nets["D"].parameters()))[0].item() == pytest.approx(10)


def test_the_gradient_is_taken_between_a_real_sample_and_its_fake() -> None:
    """Pair by pair, at places of their own, never outside; where both are one place, it is that place."""
    ctx = between([0.0, 10.0, 3.0], [1.0, 20.0, 3.0])
    value = gradient_penalty(1)(ctx)
    seen = cast(Parabola, ctx.nets["D"]).seen[:, 0]
    assert 0 <= seen[0] <= 1
    assert 10 <= seen[1] <= 20
    assert seen[2] == 3
    assert seen[0] != pytest.approx((seen[1].item() - 10) / 10)
    assert value.item() == pytest.approx((seen.abs() - 1).square().mean().item())


def test_a_flat_critic_is_penalised_and_not_broken() -> None:
    """Where the slope is exactly zero the penalty is its weight and its derivative a number."""
    ctx = between([1.0, 2.0], [3.0, 4.0], weight=0.0)
    value = gradient_penalty(10)(ctx)
    assert value.item() == 10
    assert torch.autograd.grad(value, list(ctx.nets["D"].parameters()))[0].isfinite()


def test_clipping_cuts_the_critic_alone() -> None:
    """Every weight of D ends within the bound, and G keeps its own."""
    g, d = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = g.weight.clone()
    Clip(0.01)({"G": g, "D": d}, 0)
    assert max(p.abs().max().item() for p in d.parameters()) <= 0.01 + 1e-9
    assert torch.equal(g.weight, before)


@pytest.mark.parametrize(("step", "moves"), [(0, 100), (24, 100), (25, 5), (499, 5), (500, 100), (501, 5), (1000, 100)])
def test_the_critic_moves_often_at_first_and_now_and_then(step: int, moves: int) -> None:
    """A hundred times in each of the first 25 steps and in every five hundredth, else five times; then G once."""
    played = [update.players for update in critic_first().updates(step)]
    assert played == [("D",)] * moves + [("G",)]


def test_the_estimate_of_the_distance_stands_in_the_records_alone() -> None:
    """With a penalty the whole loss is not the estimate; it is a term of its own, logged as D/d_wasserstein."""
    d = CATALOGUE["wgan_gp"].players[0]
    assert [term.name for term in d.loss.terms] == ["d_wasserstein", "gradient_penalty(10)"]
    assert [term.name for term in CATALOGUE["wgan"].players[0].loss.terms] == ["d_wasserstein"]
