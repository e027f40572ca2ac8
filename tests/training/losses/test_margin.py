"""Qi's loss-sensitive losses and Mao's least squares against numbers worked out by hand; and what tells the nets apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.deals import FAKE, REAL, sample_latents
from training.game.optimisers import Clip
from training.losses.least_squares import d_least_squares, d_squares, g_least_squares, g_squares
from training.losses.margin import d_margin, g_margin
from training.nets.conv import ConvDiscriminator
from training.nets.judges import ChannelBias, LossFunction, without_norm
from training.recipes import CATALOGUE


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_a_lead_beyond_the_distance_counts_by_the_slope(slope: float) -> None:
    """Distances 3 and 2 times .5 are margins 1.5 and 1; the leads 4.5 and 3 are 3 and 2 beyond: 0 for LS-GAN, all for WGAN."""
    assert d_margin(0.5, slope=slope)(sample_latents()).item() == pytest.approx(slope * (-3.0 - 2.0) / 2)


def test_a_lead_that_is_too_short_costs_what_is_missing() -> None:
    """With margins of 6 and 4 the leads 4.5 and 3 are short by 1.5 and 1."""
    ctx = sample_latents()
    assert d_margin(2.0)(ctx).item() == pytest.approx((1.5 + 1.0) / 2)
    assert ctx.logged["accuracy/pair"].item() == 1.0


def test_the_margin_is_a_constant_of_the_game() -> None:
    """No gradient reaches G through the distance: with D's weight 0, none reaches it at all."""
    ctx = sample_latents(moving="DG")
    ctx.nets["D"].weight.data.zero_()
    (gradient,) = torch.autograd.grad(d_margin(2.0)(ctx), list(ctx.nets["G"].parameters()))
    assert gradient.item() == 0


def test_the_generator_lowers_the_loss_of_its_fakes() -> None:
    """L is minus the logit."""
    assert g_margin(sample_latents(moving="G")).item() == pytest.approx(-sum(FAKE) / 2)


def test_least_squares_draws_to_its_targets() -> None:
    """Reals to 1, fakes to -1, and G's fakes to 0, halves of mean squares."""
    expected = sum((r - 1) ** 2 for r in REAL) / 4 + sum((f + 1) ** 2 for f in FAKE) / 4
    assert d_least_squares(sample_latents()).item() == pytest.approx(expected)
    assert g_least_squares(sample_latents(moving="G")).item() == pytest.approx(sum(f**2 for f in FAKE) / 4)


def test_least_squares_have_the_targets_that_they_are_given() -> None:
    """Reals to 3, fakes to 2, and G's fakes to 5."""
    expected = sum((r - 3) ** 2 for r in REAL) / 4 + sum((f - 2) ** 2 for f in FAKE) / 4
    assert d_squares(2, 3)(sample_latents()).item() == pytest.approx(expected)
    assert g_squares(5)(sample_latents(moving="G")).item() == pytest.approx(sum((f - 5) ** 2 for f in FAKE) / 4)


def judge(weight: float) -> ConvDiscriminator:
    net = ConvDiscriminator(nn.Sequential(nn.Flatten()), 1)
    nn.init.constant_(net.head.weight, weight)
    nn.init.zeros_(net.head.bias)
    return net


def test_a_loss_function_is_never_below_zero_and_has_no_threshold() -> None:
    """LS-GAN's L = ReLU(1 - w x) in the beginning; GLS-GAN's is any number."""
    x = torch.tensor([[-2.0], [0.0], [3.0]])
    held = LossFunction(judge(1.0), is_nonnegative=True)(x)
    assert (-held.logit).tolist() == [3.0, 1.0, 0.0]
    assert held.threshold is None
    assert LossFunction(judge(1.0), is_nonnegative=False)(x).logit.tolist() == [-2.0, 0.0, 3.0]


def test_without_norm_a_bias_stands_where_a_norm_stood() -> None:
    """The same layers, no batch normalisation, and as many biases as it had channels."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    bare = without_norm(net)
    assert not any(isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d) for m in bare.modules())
    assert [m.bias.numel() for m in bare.modules() if isinstance(m, ChannelBias)] == [4, 3]


def test_clipping_keeps_weights_within_the_bound() -> None:
    """From -.5 and .05 to -.08 and .05, in D alone."""
    nets = {"D": nn.Linear(2, 1, bias=False), "G": nn.Linear(1, 1, bias=False)}
    for net, values in (("D", [[-0.5, 0.05]]), ("G", [[0.5]])):
        nets[net].weight.data = torch.tensor(values)
    Clip(0.08)(nets, 0)
    assert nets["D"].weight.tolist()[0] == pytest.approx([-0.08, 0.05])
    assert nets["G"].weight.tolist() == [[0.5]]


def test_the_two_games_that_are_called_lsgan_are_two() -> None:
    """Qi's and Mao's recipes share nets and nothing of the losses."""
    qi, mao = CATALOGUE["ls_gan"], CATALOGUE["least_squares"]
    assert {str(p.loss) for p in qi.players} & {str(p.loss) for p in mao.players} == set()
