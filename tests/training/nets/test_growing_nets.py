"""The progressive GAN's layers and the growth of its nets against numbers worked out by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from training.nets.growing import (
    EqualConv,
    EqualLinear,
    GrowingDiscriminator,
    GrowingGenerator,
    Grown,
    Growth,
    MinibatchDeviation,
    PixelNorm,
    Widths,
    enlarge,
    whole,
)
from training.nets.pyramid import halve

WIDTHS = Widths(16, 8)


def generator(side: int = 16) -> GrowingGenerator:
    torch.manual_seed(0)
    return GrowingGenerator(8, (1, side, side), WIDTHS)


def discriminator(side: int = 16) -> GrowingDiscriminator:
    torch.manual_seed(0)
    return GrowingDiscriminator((1, side, side), WIDTHS)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_pixel_norm_divides_by_the_root_of_the_mean_square() -> None:
    """Channels 3 and 4: the mean square is 12.5; each pixel on its own."""
    x = torch.tensor([[[[3.0, 0.0]], [[4.0, 2.0]]]])
    expected = [[[3 / math.sqrt(12.5), 0.0]], [[4 / math.sqrt(12.5), math.sqrt(2)]]]
    torch.testing.assert_close(PixelNorm()(x), torch.tensor([expected]))


def test_the_deviation_of_a_minibatch_is_taken_in_groups_of_four() -> None:
    """Samples 0, 2, 4, 6 are 0, 0, 2, 2: their deviation is 1; samples 1, 3, 5, 7 are equal: it is the root of 1e-8."""
    x = torch.tensor([0.0, 5.0, 0.0, 5.0, 2.0, 5.0, 2.0, 5.0])[:, None, None, None].expand(-1, 1, 2, 2)
    made = MinibatchDeviation()(x)
    assert made.shape == (8, 2, 2, 2)
    assert torch.equal(made[:, :1], x)
    torch.testing.assert_close(made[:, 1, 0, 1], torch.tensor([1.0, 1e-4] * 4))


def test_samples_that_fill_no_group_are_a_group_of_their_own() -> None:
    """Of ten samples, the first eight are as if they were alone, and the last two, too; so are two, and one."""
    x = noise(10, 3, 2, 2)
    deviation = MinibatchDeviation()
    torch.testing.assert_close(deviation(x), torch.cat([deviation(x[:8]), deviation(x[8:])]))
    torch.testing.assert_close(deviation(x[8:])[:, 3, 0, 0], ((x[8:].var(0, unbiased=False) + 1e-8).sqrt().mean()).expand(2))
    torch.testing.assert_close(deviation(x[:1])[:, 3], torch.full((1, 2, 2), 1e-4))


def test_the_deviation_is_averaged_over_channels_and_pixels() -> None:
    """Of two samples that differ by 2 in one of four numbers: (1 + 3e-4) / 4."""
    x = torch.zeros(2, 2, 1, 2)
    x[1, 0, 0, 0] = 2.0
    torch.testing.assert_close(MinibatchDeviation()(x)[:, 2], torch.full((2, 1, 2), (1 + 3e-4) / 4))


def test_weights_are_scaled_when_they_are_used() -> None:
    """2 channels of 3x3: a fan of 18, so the scale is sqrt(2 / 18) = 1/3, and 18 ones give 6; 8 units by a gain of 1."""
    conv, linear = EqualConv(2, 1, 3), EqualLinear(8, 1, gain=1.0)
    for layer in (conv, linear):
        torch.nn.init.ones_(layer.weight)
    assert conv(torch.ones(1, 2, 3, 3))[0, 0, 1, 1].item() == pytest.approx(6.0)
    assert linear(torch.ones(1, 8)).item() == pytest.approx(8 / math.sqrt(8))


def test_every_layer_learns_at_the_same_rate() -> None:
    """Weights are of variance 1 at any fan, and Adam's first step moves each by its rate."""
    torch.manual_seed(0)
    for layer, x in ((EqualConv(64, 8, 3), torch.randn(2, 64, 4, 4)), (EqualLinear(500, 4), torch.randn(2, 500))):
        before = layer.weight.detach().clone()
        assert before.std().item() == pytest.approx(1, abs=0.1)
        optimiser = torch.optim.Adam(layer.parameters(), 1e-3, (0.0, 0.99))
        layer(x).square().mean().backward()
        optimiser.step()
        torch.testing.assert_close((layer.weight - before).abs(), torch.full_like(before, 1e-3), atol=1e-4, rtol=0)


def test_widths_halve_from_a_most() -> None:
    """fmap_base 8192 and fmap_max 512: 512 up to 32x32, 256 at 64x64."""
    assert [Widths(8192, 512).at(level) for level in (-1, 0, 3, 4)] == [512, 512, 512, 256]


@pytest.mark.parametrize(
    ("step", "height"), [(0, 0), (2, 0), (3, 0.25), (5, 0.75), (6, 1), (8, 1), (9, 1.25), (12, 2), (100, 16.5)]
)
def test_a_level_is_stable_and_then_the_next_fades_in(step: int, height: float) -> None:
    """Two steps stable, four fading; the function goes on without end, and the nets stop at their top."""
    assert Growth(2, 4).height(step) == height


@pytest.mark.parametrize(("height", "expected"), [(0, (0, 1.0)), (1, (1, 1.0)), (1.25, (2, 0.25)), (7.5, (2, 1.0))])
def test_a_height_is_a_level_and_a_share(height: float, expected: tuple[int, float]) -> None:
    """The highest level of 16x16 is 2; the state dict holds both numbers."""
    net = generator()
    net.grow(height)
    assert net.now() == expected
    other = generator()
    other.grow(0.5)
    other.load_state_dict(net.state_dict())
    assert other.now() == expected
    assert other.phase == net.phase == (expected[0], expected[1] < 1)


def test_reals_fade_as_the_blocks_do() -> None:
    """At a quarter of level 1 of 8x8: a quarter of the image and three quarters of its means of four pixels, enlarged."""
    net, x = discriminator(8), noise(2, 1, 8, 8)
    net.grow(0.25)
    torch.testing.assert_close(net.fade(x), 0.25 * x + 0.75 * enlarge(halve(x), 1))
    net.grow(0)
    torch.testing.assert_close(net.fade(x), enlarge(halve(x), 1))
    net.grow(1)
    assert net.fade(x) is x


def test_an_image_that_fades_in_is_a_blend_of_two_levels() -> None:
    """A quarter of level 2 and three quarters of level 1, both at full size; a lower level is made of equal squares."""
    net, z = generator(), noise(3, 8)
    expected = 0.25 * net.draw(z, 2) + 0.75 * net.draw(z, 1)
    net.grow(1.25)
    torch.testing.assert_close(net(z), expected)
    low = net.draw(z, 0)
    assert low.shape == (3, 1, 16, 16)
    torch.testing.assert_close(low, enlarge(halve(low, 2), 2))


def test_a_new_block_begins_with_no_share() -> None:
    """Just above a level both nets do what they did at the level."""
    g, d, z, x = generator(), discriminator(), noise(4, 8), noise(4, 1, 16, 16)
    for level in (0, 1):
        g.grow(level)
        d.grow(level)
        image, score = g(z), d(x).logit
        g.grow(level + 1e-6)
        d.grow(level + 1e-6)
        assert g.now()[0] == d.now()[0] == level + 1
        torch.testing.assert_close(g(z), image, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(d(x).logit, score, atol=1e-4, rtol=1e-4)


def test_a_discriminator_sees_no_more_than_its_level() -> None:
    """Pixels that change nothing in the means of four change nothing in the score."""
    net, x = discriminator(), noise(4, 1, 16, 16)
    net.grow(1)
    torch.testing.assert_close(net(x).logit, net(net.fade(x)).logit)
    net.grow(2)
    assert not torch.allclose(net(x).logit, net(enlarge(halve(x), 1)).logit)


def test_without_the_deviation_a_score_does_not_depend_on_the_other_samples() -> None:
    """With it, it does."""
    x = noise(4, 1, 16, 16)
    other = torch.cat([x[:1], noise(3, 1, 16, 16) * 5])
    torch.manual_seed(0)
    bare = GrowingDiscriminator((1, 16, 16), WIDTHS, has_deviation=False)
    torch.testing.assert_close(bare(x).logit[0], bare(other).logit[0])
    assert not torch.allclose(discriminator()(x).logit[0], discriminator()(other).logit[0])


def test_a_grown_generator_is_held_at_its_level() -> None:
    """What is exported is a function of z alone: it does not follow the net that grows on."""
    net, z = generator(), noise(2, 8)
    net.grow(0.5)
    held, expected = Grown(net), net(z)
    net.grow(2)
    assert torch.equal(held(z), expected)


@pytest.mark.parametrize("side", [2, 12, 28])
def test_a_side_that_is_no_power_of_two_is_refused(side: int) -> None:
    """The message names the sides that are right."""
    with pytest.raises(ValueError, match=rf"must have a side of 4, 8, 16, 32, ..., got {side}: use --size"):
        generator(side)


def test_nets_at_full_size_from_the_start() -> None:
    """At the first step already the highest level takes part in full: what growth is compared with."""
    g = generator()
    whole({"G": g}, 0)
    assert g.now() == (2, 1.0)


def test_a_phase_lasts_while_the_operations_stay_the_same() -> None:
    """Two steps stable, four fading, up to the top: graphs are recorded five times."""
    nets = {"G": generator(), "D": discriminator()}
    growth, phases = Growth(2, 4), []
    for step in range(30):
        growth(nets, step)
        phases.append(growth.phase(nets))
    expected = [((0, False),) * 2, ((1, True),) * 2, ((1, False),) * 2, ((2, True),) * 2, ((2, False),) * 2]
    assert [phase for phase, _ in itertools.groupby(phases)] == expected
