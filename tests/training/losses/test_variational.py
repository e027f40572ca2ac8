"""VAEGAN's losses against numbers worked out by hand, and which gradient reaches whom."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from tests.training.deals import Scaled
from training.game.optimisers import PowerDecay
from training.game.step import Batch, DiscriminatorOutput, StepContext
from training.losses.variational import EPSILON, d_weighted, divergence, g_variational, likeness, log_probability, pixelwise
from training.nets.variational import LAYER, decoder, discriminator, encoder
from training.recipes import CATALOGUE


class Posterior(nn.Module):
    """An encoder whose mean is x times a weight, and whose variance is next to nothing unless given."""

    def __init__(self, log_variance: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.25))
        self.log_variance = log_variance

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.weight, torch.full_like(x, self.log_variance)


def sample_latents(*, log_variance: float = -60.0) -> StepContext:
    """Reals 1 and 3, codes .25 and .75, reconstructions .5 and 1.5, samples -2 and 1; D's logit is 1.5 x, its layer x."""
    nets = {"E": Posterior(log_variance), "G": Scaled(2.0), "D": Recording()}
    transform_real, z = torch.tensor([[1.0], [3.0]]), torch.tensor([[-1.0], [0.5]])
    return StepContext(nets, Batch(transform_real), {"z": z}, step=0, moving=frozenset("EGD"))


REAL, SAMPLED = (1.5, 4.5), (-3.0, 1.5)
LIKENESS = ((1 - 0.5) ** 2 + (3 - 1.5) ** 2) / 2 / 2


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    """With variance 2 and means .25 and .75: 1/2 (m^2 + 2 - 1 - ln 2) each."""
    value = divergence(sample_latents(log_variance=math.log(2))).item()
    assert value == pytest.approx(mean([(m**2 + 1 - math.log(2)) / 2 for m in (0.25, 0.75)]))


def test_likeness_is_half_the_squared_distance_of_features() -> None:
    """1 against .5 and 3 against 1.5."""
    assert likeness(sample_latents()).item() == pytest.approx(LIKENESS)


def log_p(logit: float) -> float:
    """log(s(l) + eps)."""
    return math.log(1 / (1 + math.exp(-logit)) + EPSILON)


def test_the_discriminator_weighs_reals_and_samples() -> None:
    """Three quarters of its cost of reals, a quarter of its cost of samples; both costs are logged for the gate."""
    ctx = sample_latents()
    real, fake = -mean([log_p(l) for l in REAL]), -mean([log_p(-l) for l in SAMPLED])
    assert d_weighted(0.75)(ctx).item() == pytest.approx(0.75 * real + 0.25 * fake)
    assert ctx.logged["cost/real"].item() == pytest.approx(real)
    assert ctx.logged["cost/fake"].item() == pytest.approx(fake)
    assert ctx.logged["accuracy/fake"].item() == 0.5


def test_the_decoder_minimises_likeness_and_the_zero_sum_term() -> None:
    """gamma likeness + (1 - gamma) log(1 - D + eps) of the samples."""
    fooling = mean([log_p(-l) for l in SAMPLED])
    assert g_variational(0.25)(sample_latents()).item() == pytest.approx(0.25 * LIKENESS + 0.75 * fooling)


def test_the_decoder_may_have_the_loss_that_does_not_saturate() -> None:
    """gamma likeness - (1 - gamma) log(D + eps) of the samples."""
    fooling = -mean([log_p(l) for l in SAMPLED])
    assert g_variational(0.25, is_saturating=False)(sample_latents()).item() == pytest.approx(0.25 * LIKENESS + 0.75 * fooling)


def test_a_cost_is_bounded_and_so_is_its_gradient() -> None:
    """However sure D is, a logarithm is at least log(eps), and the zero-sum loss has no gradient far beyond it."""
    logit = torch.tensor([40.0], requires_grad=True)
    value = log_probability(-logit)
    assert value.item() == pytest.approx(math.log(EPSILON), abs=1e-5)
    (gradient,) = torch.autograd.grad(value.sum(), logit)
    assert abs(gradient.item()) < 1e-6


class Recording(nn.Module):
    """A discriminator that keeps its batches, and measures likeness in x."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.5))
        self.batches: list[list[float]] = []

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        self.batches.append(x.flatten().tolist())
        return DiscriminatorOutput((x * self.weight).sum(1), 2 * x, {LAYER: x})


def test_reals_samples_and_the_pair_of_likeness_are_normalised_apart() -> None:
    """D has one pass over reals, one over samples, and one over reconstructions and reals."""
    ctx = sample_latents()
    for value in (divergence + likeness, g_variational(0.5), d_weighted(0.5)):
        value(ctx)
    assert sorted(cast(Recording, ctx.nets["D"]).batches) == [[-2.0, 1.0], [0.5, 1.5, 1.0, 3.0], [1.0, 3.0]]


def test_no_adversarial_gradient_reaches_the_encoder() -> None:
    """E's gradient is that of likeness and divergence: by hand, of 1/2 (x - 2 w x)^2 + 1/2 w^2 x^2 at w = 1/4."""
    ctx = sample_latents()
    value = (divergence + likeness)(ctx)
    (gradient,) = torch.autograd.grad(value, list(ctx.nets["E"].parameters()))
    assert gradient.item() == pytest.approx(mean([-2 * x * (x - 0.5 * x) + 0.25 * x**2 for x in (1.0, 3.0)]), rel=1e-5)


def test_the_plain_auto_encoder_pays_the_cross_entropy_of_pixels() -> None:
    """Pixels .5 and .25 that became .25 and .125."""
    first = sample_latents()
    pixels = torch.tensor([[0.5], [0.25]])
    ctx = StepContext(first.nets, Batch(pixels), first.latents, step=0, moving=first.moving)
    expected = [-(x * math.log(x / 2) + (1 - x) * math.log(1 - x / 2)) for x in (0.5, 0.25)]
    assert pixelwise(ctx).item() == pytest.approx(mean(expected))


def test_each_of_the_three_owns_one_net_and_moves_on_one_deal() -> None:
    """Which gradient reaches whom is who owns which net."""
    recipe = CATALOGUE["vaegan"]
    assert [(p.name, p.nets) for p in recipe.players] == [("E", ("E",)), ("G", ("G",)), ("D", ("D",))]
    assert [update.players for update in recipe.schedule.updates(0)] == [("E", "G", "D")]
    assert str(recipe.gate) == "equilibrium(0.68 +- 0.35)"


@pytest.mark.parametrize(("step", "rate"), [(0, 2.0), (16, 2.0 - 1 / 8), (256, 1.0), (300, 1.0)])
def test_a_rate_falls_by_a_power_of_the_time(step: int, rate: float) -> None:
    """From 2 to 1 in 256 steps by the power 3/4: after a sixteenth of the time an eighth of the way."""
    assert PowerDecay(2.0, 1.0, 0.75)(step, 256)["lr"] == pytest.approx(rate)


def test_nets_halve_a_picture_three_times_and_measure_likeness_at_a_quarter() -> None:
    """28, 14, 7 and 4; the layer of likeness has 3 w maps of 7x7 and both signs, as it lies before batch normalisation."""
    shape = (1, 28, 28)
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    mean, log_variance = encoder(shape, 5, width=8)(x)
    assert mean.shape == log_variance.shape == (3, 5)
    again = decoder(5, shape, width=8)(z=mean)
    assert again.shape == x.shape
    assert 0 <= again.min() <= again.max() <= 1
    output = discriminator(shape, width=8)(again)
    assert output.heads[LAYER].shape == (3, 3 * 8 * 7 * 7)
    assert output.heads[LAYER].min() < 0 < output.heads[LAYER].max()
    assert (output.logit.shape, output.features.shape) == ((3,), (3, 64))
