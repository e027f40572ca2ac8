"""R3GAN's losses and penalties against numbers worked out by hand, and its nets."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.training.deals import sample_latents, softplus
from training.game.burn_in import Cosine
from training.losses.relativistic import d_relativistic, g_relativistic
from training.nets.residual import Block, Discriminator, Generator, Resample, Stage, side
from training.penalties import r1_r2
from training.recipes import CATALOGUE

LEADS = (1.5 + 3.0, 4.5 - 1.5)
"""How far each real's logit is above that of the fake in its place."""


def test_only_the_lead_of_a_real_over_its_fake_counts() -> None:
    """Leads 4.5 and 3: sp(-lead) for D, sp(lead) for G, and the two pairs differ."""
    ctx = sample_latents()
    assert d_relativistic(ctx).item() == pytest.approx(sum(softplus(-lead) for lead in LEADS) / 2)
    assert ctx.logged["accuracy/pair"].item() == 1.0
    assert g_relativistic(sample_latents(moving="G")).item() == pytest.approx(sum(softplus(lead) for lead in LEADS) / 2)


def test_r1_and_r2_are_half_gamma_times_the_squared_gradients() -> None:
    """The gradient of 1.5 x is 1.5 on either side; gamma is the step's, and the derivative by the weight is 2 gamma w."""
    penalty = r1_r2(Cosine(1.0, 0.0, 2))
    for step, gamma in ((0, 1.0), (1, 0.5), (2, 0.0)):
        assert penalty(sample_latents(step=step)).item() == pytest.approx(2 * gamma / 2 * 1.5**2)
    ctx = sample_latents()
    assert torch.autograd.grad(penalty(ctx), list(ctx.nets["D"].parameters()))[0].item() == pytest.approx(2 * 1.5)
    assert [name for name, _ in penalty.parts(ctx)] == ["r1", "r2"]


@pytest.mark.parametrize("is_up", [True, False])
def test_resampling_is_bilinear_away_from_the_edges(is_up: bool) -> None:
    """Upwards as torch's bilinear interpolation; downwards the mean of four pixels, blurred: a linear slope stays one."""
    x = torch.arange(64.0).reshape(1, 1, 8, 8).expand(2, 3, 8, 8)
    made = Resample(is_up=is_up)(x)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear") if is_up else F.avg_pool2d(x, 2)
    inside = slice(2, -2) if is_up else slice(1, -1)
    assert torch.allclose(made[:, :, inside, inside], expected[:, :, inside, inside])


def test_a_block_begins_as_the_identity() -> None:
    """Its last convolution is zero at first."""
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(Block(Stage(8, groups=2), depth=4)(x), x)


def test_the_published_nets_have_the_published_sizes() -> None:
    """20.7 million weights each on 32x32x3, counted without making them."""
    with torch.device("meta"):
        nets = CATALOGUE["r3gan"].nets((3, 32, 32), CATALOGUE["r3gan"].latents(0))
    weights = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    assert {name: round(count / 1e6, 1) for name, count in weights.items()} == {"G": 20.7, "D": 20.7}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28)])
def test_the_small_nets_fit_grey_and_colour(shape: tuple[int, ...]) -> None:
    """MNIST, Fashion-MNIST and StackedMNIST; a logit of which only differences count."""
    stages = (Stage(8, groups=2, blocks=1),) * 3
    made = Generator(4, shape, stages)(torch.randn(5, 4))
    output = Discriminator(shape, stages)(made)
    assert made.shape == (5, *shape)
    assert output.logit.shape == (5,)
    assert output.threshold is None


def test_a_size_that_cannot_be_halved_so_often_is_refused() -> None:
    """Four stages need a multiple of eight."""
    with pytest.raises(ValueError, match="multiple of 8, got 28"):
        side(28, 4)


def test_both_moves_have_reals_of_their_own() -> None:
    """D's and G's updates each get a new real batch."""
    assert [update.is_new_batch for update in CATALOGUE["r3gan"].schedule.updates(0)] == [True, True]


def test_settings_glide_over_the_burn_in_of_two_million_images() -> None:
    """beta2 .9 to .99, gamma 1 to .1, the average from nothing to a half-life of half a million images; the rate stays."""
    recipe = CATALOGUE["r3gan"]
    hyperparameters, ema = recipe.players[0].hyperparameters, recipe.ema
    assert hyperparameters is not None
    assert ema is not None
    over = 2_000_000 // 512
    assert hyperparameters(0, recipe.steps) == {"lr": 2e-4, "betas": (0.0, 0.9)}
    assert hyperparameters(over, recipe.steps) == {"lr": 2e-4, "betas": (0.0, 0.99)}
    assert [ema.at(0), ema.at(over)] == pytest.approx([0.0, 0.5 ** (512 / 500_000)])
    assert recipe.steps == 10_000_000 // 512
