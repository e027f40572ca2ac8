"""The games of a pyramid's levels: what each sees, and that they share nothing but the reals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from contract import Uniform
from tests.training.deals import Linear, softplus
from training.game.step import Batch, DiscriminatorOutput, StepContext
from training.losses.adversarial import d_nonsaturating, g_nonsaturating
from training.losses.pyramid import at_level, level_of
from training.recipes import CATALOGUE

LABELS = torch.tensor([7, 2])


class Lowest(nn.Module):
    """Images of 1x1: the latent itself."""

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return z[:, :, None, None]


class Details(nn.Module):
    """The image below plus the latent; keeps the labels that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.labels: Tensor = torch.empty(0)

    def forward(self, z: Tensor, y: Tensor, coarse: Tensor) -> Tensor:
        self.labels = y
        return coarse + self.scale * z.unflatten(1, (1, 2, 2))


class Mean(nn.Module):
    """A discriminator whose logit is the image's mean times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, y: Tensor) -> DiscriminatorOutput:
        self.seen.append(x.detach())
        logit = self.weight * x.mean((1, 2, 3))
        return DiscriminatorOutput(logit, x.flatten(1))


def step(*moving: str) -> StepContext:
    """Reals of 2x2 with means 2 and 6, two levels, latents 1 and -1 below and -2 and 4 above."""
    nets = {"G0": Lowest(), "D0": Mean(), "G1": Details(), "D1": Mean(), "other": Linear(1.0)}
    x = torch.tensor([[[[0.0, 4.0], [4.0, 0.0]]], [[[6.0, 6.0], [6.0, 6.0]]]])
    z1 = torch.tensor([[-2.0] * 4, [4.0] * 4])
    latents = {"z0": torch.tensor([[1.0], [-1.0]]), "z1": z1, "y": torch.tensor([0, 1])}
    return StepContext(nets, Batch(x, LABELS), latents, step=0, moving=frozenset(moving), conditions=("y",))


def test_the_lowest_level_is_a_game_of_means_against_its_own_latent() -> None:
    """Reals 2 and 6, fakes 1 and -1, with the labels that were drawn."""
    expected = (softplus(-2) + softplus(-6)) / 2 + (softplus(1) + softplus(-1)) / 2
    assert at_level(d_nonsaturating, 0, 2)(step("D0")).item() == pytest.approx(expected)


def test_a_higher_level_draws_details_of_real_images() -> None:
    """The image below, enlarged, is flat: 2 and 6; with the details -2 and 4 the fakes are 0 and 10, with the reals' labels."""
    ctx = step("D1")
    expected = (softplus(-2) + softplus(-6)) / 2 + (softplus(0) + softplus(10)) / 2
    assert at_level(d_nonsaturating, 1, 2)(ctx).item() == pytest.approx(expected)
    g, d = ctx.nets["G1"], ctx.nets["D1"]
    assert isinstance(g, Details)
    assert isinstance(d, Mean)
    assert torch.equal(g.labels, LABELS)
    assert [x.flatten(1)[1].tolist() for x in d.seen] == [[6.0] * 4, [10.0] * 4]


def test_a_level_moves_its_own_generator_alone() -> None:
    """d/ds mean sp(-(coarse + s z)) = mean -z sigmoid(-(coarse + z)), at s = 1; the level below has no part in it."""
    ctx = step("G0", "G1")
    (gradient,) = torch.autograd.grad(at_level(g_nonsaturating, 1, 2)(ctx), list(ctx.nets["G1"].parameters()))
    expected = (2 * (1 / (1 + math.exp(0))) - 4 * (1 / (1 + math.exp(10)))) / 2
    assert gradient.item() == pytest.approx(expected)


def test_losses_of_a_level_share_its_fakes() -> None:
    """They are made once a step, as those of any game."""
    ctx = step("D1")
    assert level_of(ctx, 1, 2).fake is level_of(ctx, 1, 2).fake


def test_details_need_labels() -> None:
    """On data without classes the message says so."""
    ctx = step("D1")
    without = StepContext(ctx.nets, Batch(ctx.real.x), ctx.latents, step=0, conditions=("y",))
    with pytest.raises(ValueError, match="needs labels"):
        level_of(without, 1, 2)


def test_a_pyramid_declares_a_latent_for_each_level() -> None:
    """As many numbers as the level has pixels, uniform in [-1,1]; the order is the graph's."""
    latents = CATALOGUE["lapgan"].latents(10)
    assert list(latents) == ["z0", "z1", "z2", "y"]
    assert [latent.size for latent in latents.values() if isinstance(latent, Uniform)] == [100, 14 * 14, 28 * 28]
